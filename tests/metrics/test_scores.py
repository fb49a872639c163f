"""Scores as functions of logits: probabilities, confusion and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zskd.metrics.scores import compare, confusion, reliability, retention, softmax


def test_softmax_is_a_distribution_and_survives_large_logits() -> None:
    probabilities = softmax(np.array([[1e4, 0.0], [0.0, 0.0]]))
    assert probabilities.sum(axis=1) == pytest.approx(1.0)
    assert probabilities[1] == pytest.approx(0.5)


def test_confusion_counts_every_row_once_with_the_expected_class_as_row() -> None:
    counts = confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert counts == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_a_model_whose_confidence_is_its_accuracy_has_no_calibration_error() -> None:
    # 0.75 confident, three of four right
    logits = np.tile([np.log(3.0), 0.0], (4, 1))
    found = reliability(logits, np.array([0, 0, 0, 1]))
    assert found["ece"] == pytest.approx(0.0, abs=1e-9)
    assert [entry["rows"] for entry in found["bins"]] == [4]


def test_overconfidence_is_the_gap_between_confidence_and_accuracy() -> None:
    logits = np.tile([np.log(3.0), 0.0], (4, 1))
    assert reliability(logits, np.array([1, 1, 1, 1]))["ece"] == pytest.approx(0.75)


def test_certainty_falls_into_the_last_bin() -> None:
    found = reliability(np.array([[1e4, 0.0]]), np.array([0]))
    assert found["bins"][0]["high"] == 1.0


def test_compare_holds_all_rows() -> None:
    rng = np.random.default_rng(0)
    logits, expected = rng.normal(size=(200, 3)), rng.integers(3, size=200)
    found = compare(logits, expected)
    assert np.sum(found["confusion"]) == found["rows"] == 200
    assert sum(entry["rows"] for entry in found["reliability"]["bins"]) == 200
    right = np.trace(np.array(found["confusion"])) / 200
    assert right == pytest.approx((logits.argmax(axis=1) == expected).mean())


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
