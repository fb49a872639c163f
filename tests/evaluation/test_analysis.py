"""How fast a model is."""

from __future__ import annotations

from pathlib import Path

from zskd.evaluation.analysis import latency
from zskd.tasks.task import find_task
from zskd.teacher.load import load_teacher


def test_latency_is_measured_on_the_model_it_names(teacher_folder: Path, shared_cache: Path) -> None:
    teacher = load_teacher(find_task("sst2"), str(teacher_folder), shared_cache, None, None)
    found = latency(teacher, (["one text of some words"],), 32)
    assert found["milliseconds"] > 0
    assert found["texts_per_second"] > 0
    assert found["device"] == "cpu"
    assert found["threads"] >= 1
