"""The student's stages: methods prepare themselves once, and the record says what the student depends on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from zskd.config.distillation import DistillConfig
from zskd.methods.context import Run
from zskd.methods.method import Method
from zskd.models.loading import count_parameters
from zskd.runs.folder import RunFolder
from zskd.stages.inputs import Setting, begin, read_corpus
from zskd.stages.students import prepare, start_student, write_report
from zskd.stages.teachers import meet_teacher
from zskd.system.machine import machine
from zskd.tasks.defaults import with_task_defaults


@pytest.fixture
def setting(tiny_config: DistillConfig) -> Setting:
    return begin(with_task_defaults(tiny_config))


class Noting(Method):
    """Keeps what it is prepared with."""

    def __init__(self, name: str, phase: str | None) -> None:
        self.name, self.phase = name, phase
        self.runs: list[Run] = []

    def prepare(self, run: Run) -> None:
        self.runs.append(run)


def test_a_student_keeps_to_its_size_and_depends_on_the_seed(setting: Setting) -> None:
    teacher = meet_teacher(setting)
    first, again = (start_student(setting, teacher, "fp32") for _ in range(2))
    assert teacher.parameters is not None
    assert count_parameters(first.model) <= teacher.parameters / setting.config.compression
    assert again.asked == 0, "the cache knows its words by now"
    for left, right in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(left, right)


def test_methods_are_prepared_once_with_the_whole_run_each_in_its_phase(setting: Setting) -> None:
    teacher = meet_teacher(setting)
    initial, corpus = start_student(setting, teacher, "fp32"), read_corpus(setting)
    methods = [Noting("quick", None), Noting("slow", "generator")]
    prepare(setting, methods, teacher, initial, corpus, "bf16")
    for method in methods:
        (run,) = method.runs
        assert method.prepared and run.student is initial.model and run.teacher is teacher and run.corpus is corpus
        assert (run.seed, run.precision, run.max_length) == (setting.config.seed, "bf16", setting.length)
        assert run.temperature == setting.config.temperature and run.cache == setting.cache
    assert list(setting.folder.seconds) == ["generator"]


def test_a_record_says_what_the_student_depends_on(finished_run: Path) -> None:
    found: dict[str, Any] = json.loads((finished_run / "record.json").read_text(encoding="utf-8"))
    metrics = json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    assert found["versions"] == metrics["versions"] and found["transfer_set"] == metrics["transfer_set"]
    assert found["machine"] == machine()
    assert found["pools"]["size"] == 640 and found["processes"] == 1 and found["precision"] == "fp32"
    for part in ("corpus", "pools", "teacher"):
        assert len(found[part]["fingerprint"]) == 64
    assert "gold_labels" not in found
    corpus = found["corpus"]
    assert corpus["language"] == "en" and corpus["dropped"] == {} and corpus["characters"] > 40 * corpus["sentences"]


def test_a_report_that_fails_is_said_and_costs_nothing_else(
    tiny_config: DistillConfig, caplog: pytest.LogCaptureFixture
) -> None:
    write_report(RunFolder(tiny_config))
    assert "the report was not written" in caplog.text and "zskd report" in caplog.text
