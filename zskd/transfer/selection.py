"""Which labelled inputs the student learns from, and how often: the teacher's confidence, the balance of its classes.

With both settings at their neutral values (0 and 1) every input stays, once, and the rows are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from zskd.errors import InputError
from zskd.metrics.scores import probabilities
from zskd.system.arrow import ROWS

MIN_ROWS = 64


@dataclass(frozen=True)
class Selection:
    """Inputs that stay, and what they look like to the teacher.

    Attributes:
        rows: indices of the inputs that stay, ascending; those of a class that is too rare stand there repeatedly.
        report: per class of the task the share of rows and mean confidence, before and after.
    """

    rows: np.ndarray
    report: dict[str, dict[str, float]]


def teacher_logits(dataset: Dataset) -> np.ndarray:
    """Logits ``(rows, num_labels)`` float32 of a labelled data set, in the task's class order."""
    column = dataset.select_columns("teacher_logits").with_format("arrow")
    num_labels = len(dataset[0]["teacher_logits"])
    logits = np.empty((len(dataset), num_labels), dtype=np.float32, order="F")  # the layout that `Teacher.logits` has
    for start in range(0, len(dataset), ROWS):
        part = column[start : start + ROWS]["teacher_logits"].combine_chunks()
        logits[start : start + len(part)] = part.flatten().to_numpy(zero_copy_only=False).reshape(len(part), -1)
    return logits


def select(
    logits: np.ndarray, labels: tuple[str, ...], *, min_confidence: float, max_class_share: float, seed: int
) -> Selection:
    """Choose inputs by the teacher's logits ``(rows, num_labels)``, which are in the order of `labels`.

    Args:
        min_confidence: inputs whose largest probability is lower are dropped.
        max_class_share: where the teacher predicts a class for more than this share, inputs of the others are repeated,
            all of a class about equally often, until the share holds.

    Raises:
        InputError: fewer than `MIN_ROWS` inputs would stay, or be left if they were dropped for balance instead.
    """
    p = probabilities(logits)
    predicted, confidence = p.argmax(axis=1), p.max(axis=1)
    rows = np.flatnonzero(confidence >= min_confidence)
    enough = len(rows)
    if max_class_share < 1.0 and len(rows):
        counts = np.bincount(predicted[rows], minlength=len(labels))
        balanced = np.minimum(counts, _largest_cap(counts, max_class_share))
        enough = int(balanced.sum())
        if enough >= MIN_ROWS:
            rows = _repeated(rows, predicted[rows], balanced / np.maximum(counts, 1), np.random.default_rng(seed))
    if enough < MIN_ROWS:
        raise InputError(
            f"--min-confidence {min_confidence} and --max-class-share {max_class_share}: expected at least {MIN_ROWS} "
            f"inputs to stay, found {enough} of {len(logits)}; relax them or give other text"
        )
    return Selection(rows, _report(labels, predicted, confidence, rows))


def _repeated(rows: np.ndarray, classes: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows in proportion to the weight of their class, each at least once.

    Args:
        weights: ``(num_labels,)``, above 0 for every class of `classes`.
    """
    times = weights[classes] / weights[classes].min()
    copies = times.astype(np.int64)
    for index in np.unique(classes):
        own = np.flatnonzero(classes == index)
        missing = round(times[own].sum()) - int(copies[own].sum())
        copies[rng.choice(own, size=missing, replace=False)] += 1
    repeated: np.ndarray = np.repeat(rows, copies)
    return repeated


def _largest_cap(counts: np.ndarray, share: float) -> int:
    """The most rows that every class may have so that none has more than `share` of all; 0 if none can."""
    low, high = 0, int(counts.max())
    if high <= share * counts.sum() + 1e-9:
        return high
    # With a larger cap the capped classes' share only grows, so the largest that holds is found by halving.
    while low < high:
        middle = (low + high + 1) // 2
        holds = middle <= share * np.minimum(counts, middle).sum() + 1e-9
        low, high = (middle, high) if holds else (low, middle - 1)
    return low


def _report(
    labels: tuple[str, ...], predicted: np.ndarray, confidence: np.ndarray, rows: np.ndarray
) -> dict[str, dict[str, float]]:
    report = {}
    for index, name in enumerate(labels):
        before, after = predicted == index, predicted[rows] == index
        report[name] = {
            "share_before": round(float(before.mean()), 4),
            "share": round(float(after.mean()), 4),
            "confidence": round(float(confidence[rows][after].mean()), 4) if after.any() else 0.0,
        }
    return report
