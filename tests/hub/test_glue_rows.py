"""Labelled rows of GLUE as the Hub has them."""

from __future__ import annotations

from typing import Any

import pytest

from zskd.errors import InputError
from zskd.hub.glue_rows import hub_rows
from zskd.tasks.task import HUB_DATA, TASKS, Task

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))


TOPICS = Task(name="topics", text_columns=("headline",), label_column="topic", labels=("b", "a", "c"))


@every_task
def test_rows_from_the_hub_are_the_presets(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*names: str, **options: str) -> dict[str, list[Any]]:
        asked.append((names, options))
        columns = {column: [f"{column} {i}" for i in range(3)] for column in task.hub_columns}
        return {"idx": [0, 1, 2], **columns, "label": [1, 0, 1]}

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr("zskd.hub.glue_rows.resolve_revision", lambda *_, **__: "commit")
    found = hub_rows(task, "validation", flag="--flag")
    assert found.texts == tuple([f"{column} {i}" for i in range(3)] for column in task.hub_columns)
    assert found.labels == [1, 0, 1]
    assert asked == [((HUB_DATA, task.name), {"split": "validation", "revision": "commit"})]


def test_a_task_of_ones_own_has_no_rows_on_the_hub() -> None:
    with pytest.raises(InputError, match=r"--flag.*topics"):
        hub_rows(TOPICS, "train", flag="--flag")
