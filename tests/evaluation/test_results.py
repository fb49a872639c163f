"""Results of a run: what is kept of the teacher's accuracy, and the table that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zskd.evaluation.results import finished, retention, table
from zskd.runs.folder import RunFolder
from zskd.runs.read import run_config


def scores(teacher: tuple[float, float], student: tuple[float, float]) -> dict[str, Any]:
    """Accuracy and majority of both models on one set."""
    pairs = zip(("teacher", "student"), (teacher, student), strict=True)
    return {who: {"glue": {"accuracy": accuracy, "majority": majority}} for who, (accuracy, majority) in pairs}


@pytest.mark.parametrize(
    ("teacher", "student", "raw", "above"),
    [
        ((0.9, 0.5), (0.9, 0.5), 1.0, 1.0),
        ((0.9, 0.5), (0.7, 0.5), 0.7 / 0.9, 0.5),
        ((0.9, 0.5), (0.5, 0.5), 0.5 / 0.9, 0.0),
        ((0.5, 0.5), (0.6, 0.5), 1.2, None),
        ((0.0, 0.5), (0.6, 0.5), None, None),
    ],
    ids=["all", "half", "chance", "a teacher at chance", "a teacher always wrong"],
)
def test_what_is_kept_is_measured_from_chance(teacher, student, raw: float | None, above: float | None) -> None:
    found_raw, found_above = retention(scores(teacher, student))
    assert found_raw["glue"] == (None if raw is None else pytest.approx(raw))
    assert found_above["glue"] == (None if above is None else pytest.approx(above))


def test_a_student_alone_has_nothing_to_keep() -> None:
    assert retention({"teacher": {}, "student": {}}) == ({}, {})


def test_the_table_has_every_set_and_the_numbers_of_the_metrics(finished_run: Path) -> None:
    metrics = json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    lines = table(metrics).splitlines()
    assert [line.split()[0] for line in lines] == ["teacher", "parameters", "probe", "glue", "agreement"]
    assert f"{metrics['student']['parameters']:,}" in lines[1]
    for line, name in zip(lines[2:4], ("probe", "glue"), strict=True):
        for who in ("teacher", "student"):
            assert f"{metrics[who]['scores'][name]['accuracy']:.4f}" in line
    unknown = {**metrics, "compression": None, "teacher": {**metrics["teacher"], "parameters": None}}
    assert "unknown" in table(unknown).splitlines()[1]


def test_a_finished_run_is_known_by_its_metrics(finished_run: Path, tmp_path: Path) -> None:
    config = run_config(str(finished_run))
    assert config is not None
    config.output_dir = str(finished_run)
    assert finished(RunFolder(config)) == json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    config.output_dir = str(tmp_path)
    assert finished(RunFolder(config)) is None
