"""What a student begins with is checked before anything loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zskd.config.distillation import DistillConfig
from zskd.runs import start_record
from zskd.student.start_checks import check_built, check_start
from zskd.tasks.task import TASKS

SST2, QQP = TASKS["sst2"], TASKS["qqp"]


def test_the_student_of_a_callable_needs_a_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = DistillConfig(task="qqp")
    assert check_built(config, QQP) == check_built(replace(config, student="some-model"), SST2) == []
    assert check_built(replace(config, start_from="my-start"), SST2) == []
    (problem,) = check_built(replace(config, start_from="none"), QQP)
    assert problem.startswith("--student build: a callable teacher has no weights") and "--start-from none" in problem
    monkeypatch.setattr(start_record, "PACKAGED", tmp_path)
    (problem,) = check_built(config, QQP)
    assert "no start is packaged for two texts" in problem and "`zskd pretrain`" in problem


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start_from": "nowhere"}, "nowhere"),
        ({"start_from": "packaged", "student": "some-model"}, "expected --student build with it"),
    ],
)
def test_a_start_that_cannot_be_used_is_named(changes: dict[str, str], said: str) -> None:
    (problem,) = check_start(replace(DistillConfig(task="qqp"), **changes), QQP)  # type: ignore[arg-type]
    assert problem.startswith(f"--start-from {changes['start_from']}") and said in problem


def test_nothing_is_wrong_with_the_defaults() -> None:
    assert check_start(DistillConfig(task="sst2"), SST2) == check_start(DistillConfig(task="qqp"), QQP) == []
