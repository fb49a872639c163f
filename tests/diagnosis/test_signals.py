"""Signals of hand-made logits whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zskd.diagnosis.signals import (
    domain_signal,
    flatness,
    information,
    instance_signal,
    levels,
    logit_correlation,
    measure,
    rescaling,
    rest_entropy,
    separations,
)
from zskd.metrics.scores import softmax
from zskd.training.targets import gradient_rescaling, pt_target


def logits(rows: int = 200, labels: int = 4, seed: int = 0) -> np.ndarray:
    return (3 * np.random.default_rng(seed).normal(size=(rows, labels))).astype(np.float32)


def test_entropy_of_the_rest_is_one_where_it_is_even_and_zero_where_one_class_has_it() -> None:
    assert rest_entropy(np.array([[5.0, 1.0, 1.0, 1.0]])) == pytest.approx(1.0)
    assert rest_entropy(np.array([[90.0, 50.0, 0.0, 0.0]])) == pytest.approx(0.0, abs=1e-9)
    # Far beyond what 1 - p could hold.
    assert rest_entropy(np.array([[900.0, 1.0, 1.0, 0.0]])) == rest_entropy(np.array([[9.0, 1.0, 1.0, 0.0]]))


def test_flatness_knows_no_temperature_and_falls_with_smoothing() -> None:
    rows = logits()
    assert flatness(rows / 5) == pytest.approx(flatness(rows), rel=1e-4)
    even = rows.copy()
    others = even < even.max(axis=1, keepdims=True)
    even[others] *= 0.1
    assert flatness(even) < 0.5 * flatness(rows)


def test_information_is_zero_for_one_answer_and_one_for_all_classes_surely() -> None:
    assert information(np.tile([3.0, 1.0, 0.0], (50, 1))) == pytest.approx(0.0, abs=1e-12)
    assert information(np.tile(50 * np.eye(3), (10, 1))) == pytest.approx(1.0)
    assert 0 < information(logits()) < 1


def test_histogram_and_shares_hold_every_row() -> None:
    found = measure(logits())
    assert sum(found["instance"]["histogram"]["shares"]) == pytest.approx(1.0)
    assert len(found["instance"]["histogram"]["edges"]) == len(found["instance"]["histogram"]["shares"]) + 1
    assert sum(found["classes"]["share"]) == pytest.approx(1.0) == pytest.approx(sum(found["classes"]["probability"]))
    means = list(found["instance"]["by_temperature"].values())
    assert means == sorted(means, reverse=True)


def test_correlation_is_one_for_logits_that_move_together() -> None:
    rows = logits(labels=3)
    rows = np.concatenate([rows, rows[:, :1]], axis=1)
    found = logit_correlation(rows)
    assert found[0, 3] == pytest.approx(1.0) and np.allclose(found, found.T) and np.allclose(np.diag(found), 1.0)


def test_separation_finds_the_pair_that_is_one_class_at_any_temperature() -> None:
    rows = np.tile(8 * np.eye(4), (60, 1))
    rows[rows[:, 1] > 0, 2] = 7.9
    rows[rows[:, 2] == 8, 1] = 7.9
    for scale in (1.0, 0.1):
        first, *others = separations(scale * rows)
        assert first["classes"] == [1, 2] and first["separation"] < 0.02 and first["rows"] == 120
        assert all(pair["separation"] > 0.9 for pair in others)
    assert separations(logits(labels=2))[0]["separation"] is None


def test_levels_are_distances_between_the_targets_of_the_objectives() -> None:
    rows = logits()
    p, pt = softmax(rows), pt_target(torch.from_numpy(rows)).double().numpy()
    found = levels(rows)
    assert found["domain"] == pytest.approx(float(np.abs(p - pt).sum(axis=1).mean() / 2), rel=1e-4)
    hard = np.eye(4)[rows.argmax(axis=1)]
    assert found["instance"] == pytest.approx(float(np.abs(pt - hard).sum(axis=1).mean() / 2), rel=1e-4)
    assert levels(logits(labels=2))["domain"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("labels", [2, 5])
def test_rescaling_is_that_of_the_proposition(labels: int) -> None:
    teacher, student = logits(labels=labels), logits(labels=labels, seed=1)
    answers = torch.from_numpy(teacher.argmax(axis=1))
    for mine, theirs in ((None, np.zeros_like(teacher)), (student / 3, student / 3)):
        expected = gradient_rescaling(torch.from_numpy(teacher), torch.from_numpy(theirs), answers).numpy()
        assert np.allclose(rescaling(teacher, mine), expected, atol=1e-3)


def test_two_classes_have_no_domain_signal_and_labels_give_calibration() -> None:
    rows = logits(labels=2)
    found = measure(rows, student=rows, labelled=(rows, rows.argmax(axis=1)))
    assert domain_signal(rows) is None is found["domain"]
    assert found["calibration"]["accuracy"] == 1.0
    assert found["rescaling"]["student"]["mean"] == pytest.approx(0.0, abs=1e-9)
    assert measure(rows)["calibration"] is None
    assert instance_signal(rows)["confidence"]["p05"] >= 0.5
