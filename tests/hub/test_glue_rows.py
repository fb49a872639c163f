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


@pytest.mark.parametrize(
    "texts, labels, found",
    [
        (["a", None], [0, 1], "row 1: expected text in `sentence`, found None"),
        (["a", "b"], [0, -1], "row 1: expected a label from 0 to 1, found -1; test rows"),
        (["a", "b"], [None, 1], "row 0: expected a label from 0 to 1, found None"),
    ],
)
def test_a_row_without_text_or_label_is_named(
    texts: list[Any], labels: list[Any], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: {"sentence": texts, "label": labels})
    monkeypatch.setattr("zskd.hub.glue_rows.resolve_revision", lambda *_, **__: "commit")
    with pytest.raises(InputError, match=f"--flag: {HUB_DATA} sst2 test, {found}"):
        hub_rows(TASKS["sst2"], "test", flag="--flag")


def test_nul_in_a_row_is_replaced_and_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: {"sentence": ["a", "b\0"], "label": [0, 1]})
    monkeypatch.setattr("zskd.hub.glue_rows.resolve_revision", lambda *_, **__: "commit")
    assert hub_rows(TASKS["sst2"], "train", flag="--flag").texts == (["a", "b\ufffd"],)
    assert f"{HUB_DATA} sst2 train, row 1:" in caplog.text
