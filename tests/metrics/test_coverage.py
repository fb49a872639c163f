"""Agreement over coverage: exact bounds that hold together, and the threshold that is chosen by them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from zskd.errors import InputError
from zskd.metrics.coverage import CERTAINTY, THRESHOLDS, coverage, require_row, row_for
from zskd.metrics.scores import softmax


def answers(rows: int, seed: int, slope: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a teacher and of a student that is right more often the surer it is."""
    random = np.random.default_rng(seed)
    student = random.normal(0, slope, (rows, 3))
    teacher = student + random.normal(0, 2.0, (rows, 3))
    return teacher, student


def test_rows_are_counted_and_bounds_are_exact() -> None:
    teacher, student = answers(1_000, 0)
    confidence, same = softmax(student).max(axis=1), teacher.argmax(axis=1) == student.argmax(axis=1)
    table = coverage(teacher, student)
    assert [row["threshold"] for row in table] == list(THRESHOLDS)
    for row in table:
        reached = confidence >= row["threshold"]
        assert (row["rows"], row["coverage"]) == (reached.sum(), reached.mean())
        if not row["rows"]:
            assert row["agreement"] is None and row["bound"] == 0
            continue
        assert row["agreement"] == pytest.approx(same[reached].mean())
        level = 1 - (1 - CERTAINTY) / len(THRESHOLDS)
        exact = binomtest(int(same[reached].sum()), row["rows"], alternative="greater").proportion_ci(level)
        assert row["bound"] == pytest.approx(exact.low)
    assert table[0]["coverage"] == 1


def test_all_bounds_hold_together_as_often_as_they_say() -> None:
    teacher, student = answers(400_000, 1)
    truth = [row["agreement"] for row in coverage(teacher, student)]
    broken = 0
    for start in range(0, 400_000, 800):
        table = coverage(teacher[start : start + 800], student[start : start + 800])
        broken += any(row["bound"] > true for row, true in zip(table, truth, strict=True))
    assert broken / 500 <= 1 - CERTAINTY


def test_the_threshold_answers_most_of_those_that_are_good_enough() -> None:
    table = coverage(*answers(5_000, 2, slope=4.0))
    row = row_for(table, 0.9)
    assert row is not None and row["bound"] >= 0.9
    assert all(other["coverage"] <= row["coverage"] for other in table if other["bound"] >= 0.9)
    assert require_row(table, 0.9, "--min-agreement 0.9") == row
    with pytest.raises(InputError, match=r"--min-agreement 0.9999: expected a threshold .* found at most 0\.\d+, for"):
        require_row(table, 0.9999, "--min-agreement 0.9999")


def test_a_student_that_never_agrees_proves_nothing() -> None:
    teacher, student = np.array([[1.0, 0.0]] * 50), np.array([[0.0, 1.0]] * 50)
    assert {row["bound"] for row in coverage(teacher, student)} == {0.0}
