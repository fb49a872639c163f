"""The teacher gate: which rows of a probe decide, and whom they refuse."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from zskd.errors import InputError
from zskd.evaluation.gate import MIN_PLAIN_ROWS, PHENOMENON, STANDARD_ERRORS, check_teacher
from zskd.tasks.task import Task
from zskd.teacher.blackbox import BlackBox, load_black_box

pytestmark = pytest.mark.usefixtures("own_cache")
PLAIN = MIN_PLAIN_ROWS + 10


def task_with(folder: Path, *groups: tuple[str, int], column: str = PHENOMENON) -> Task:
    """A task whose probe has this many rows of each phenomenon, half of either class; texts tell both."""
    rows = [f"{name} {i} {'good' if i % 2 else 'bad'}\t{i % 2}\t{name}" for name, count in groups for i in range(count)]
    probe = folder / "probe.tsv"
    probe.write_text("\n".join([f"text\tlabel\t{column}", *rows]) + "\n", encoding="utf-8")
    return Task(name="own", text_columns=("text",), label_column="label", labels=("bad", "good"), probe=str(probe))


def teacher(task: Task, right: Callable[[str], bool]) -> BlackBox:
    """A teacher that is right where it should be, and wrong elsewhere."""

    def ask(texts: list[str]) -> list[list[float]]:
        return [[0.0, 1.0] if text.endswith("good") == right(text) else [1.0, 0.0] for text in texts]

    return load_black_box(task, ask)


def refusal(task: Task, right: Callable[[str], bool]) -> str:
    with pytest.raises(InputError) as caught:
        check_teacher(task, teacher(task, right), 16)
    (problem,) = caught.value.problems
    return problem


def test_plain_rows_decide_and_the_whole_probe_is_scored(tmp_path: Path) -> None:
    task = task_with(tmp_path, ("plain", PLAIN), ("irony", 140))
    gate: dict[str, Any] | None = check_teacher(task, teacher(task, lambda text: text.startswith("plain")), 16)
    assert gate is not None
    assert gate["rows"] == PLAIN + 140 and gate["accuracy"] == PLAIN / (PLAIN + 140) < 0.5
    assert gate["plain"] == {"rows": PLAIN, "accuracy": 1.0}
    problem = refusal(task, lambda text: text.startswith("irony"))
    assert f"{PLAIN} plain rows" in problem and "found 0.000" in problem and "swapped" in problem


@pytest.mark.parametrize("column", [PHENOMENON, "remark"])
def test_every_row_decides_where_few_or_none_are_marked_plain(column: str, tmp_path: Path) -> None:
    plain = MIN_PLAIN_ROWS - 2 if column == PHENOMENON else PLAIN
    task = task_with(tmp_path, ("plain", plain), ("irony", 140), column=column)
    refusal(task, lambda text: text.startswith("plain"))
    gate = check_teacher(task, teacher(task, lambda text: text.startswith("irony")), 16)
    assert gate is not None and gate["plain"]["rows"] == plain + 140


def test_threshold_is_chance_and_some_standard_errors(tmp_path: Path) -> None:
    rows = 100
    task = task_with(tmp_path, ("plain", rows))
    passed = set()
    for right in range(40, 75):
        starts = tuple(f"plain {i} " for i in range(right))
        try:
            gate = check_teacher(task, teacher(task, lambda text, starts=starts: text.startswith(starts)), 16)
        except InputError:
            continue
        assert gate is not None and gate["accuracy"] == right / rows > gate["threshold"]
        assert gate["threshold"] == pytest.approx(0.5 + STANDARD_ERRORS * sqrt(0.25 / rows))
        passed.add(right)
    assert passed == set(range(61, 75))


def test_a_teacher_at_chance_is_not_called_swapped(tmp_path: Path) -> None:
    task = task_with(tmp_path, ("plain", 100))
    problem = refusal(task, lambda text: text.endswith("good"))
    assert "swapped" not in problem and "is it a teacher for this task?" in problem


def test_without_a_probe_nothing_is_shown_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    task = Task(name="own", text_columns=("text",), label_column="label", labels=("bad", "good"))
    with caplog.at_level(logging.WARNING, "zskd"):
        assert check_teacher(task, teacher(task, lambda text: False), 16) is None
    assert "own has no probe" in caplog.text
