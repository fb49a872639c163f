"""Scores as functions of logits, predictions and labels."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from zskd.tasks.task import Task


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of ``(rows, num_labels)`` logits."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


BINS = 10  # of equal width over the confidence, as in Guo et al. (2017)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits ``(rows, num_labels)``, in float64."""
    return probabilities(logits.astype(np.float64))


def confusion(expected: np.ndarray, found: np.ndarray, num_labels: int) -> list[list[int]]:
    """Counts ``[num_labels][num_labels]``: row = expected class, column = found class, both ``(rows,)``."""
    counts = np.zeros((num_labels, num_labels), dtype=np.int64)
    np.add.at(counts, (expected, found), 1)
    return [[int(value) for value in row] for row in counts]


def reliability(logits: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """How well confidence matches accuracy.

    Args:
        logits: ``(rows, num_labels)``.
        expected: class indices ``(rows,)``: gold labels, or the teacher's classes.

    Returns:
        ``ece``, the expected calibration error (Guo et al., 2017: the mean over rows of how far the accuracy of a
        row's bin is from the bin's mean confidence), and ``bins``: the non-empty ones of `BINS`, each with ``low``,
        ``high``, ``rows``, ``confidence`` and ``accuracy`` (means).
    """
    confidence, right = softmax(logits).max(axis=1), logits.argmax(axis=1) == expected
    places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = []
    for place in range(BINS):
        inside = places == place
        if inside.any():
            bins.append(
                {
                    "low": place / BINS,
                    "high": (place + 1) / BINS,
                    "rows": int(inside.sum()),
                    "confidence": float(confidence[inside].mean()),
                    "accuracy": float(right[inside].mean()),
                }
            )
    error = sum(entry["rows"] * abs(entry["confidence"] - entry["accuracy"]) for entry in bins) / len(confidence)
    return {"ece": float(error), "bins": bins}


def compare(logits: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """`confusion` and `reliability` of one model's logits ``(rows, num_labels)`` against classes ``(rows,)``."""
    found = logits.argmax(axis=1)
    return {
        "rows": len(expected),
        "confusion": confusion(expected, found, logits.shape[1]),
        "reliability": reliability(logits, expected),
    }


@cache
def _metric(config_name: str) -> Any:
    # By default, `evaluate` asks the Hub for usage counts and updates.
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    import evaluate

    module = Path(str(resources.files("zskd"))) / "metrics" / "glue_score"
    return evaluate.load(str(module), config_name, keep_in_memory=True)


def above_chance(score: float, majority: float, reference: float = 1.0) -> float | None:
    """(score - majority) / (reference - majority); None if the reference is not above the majority."""
    return (score - majority) / (reference - majority) if reference > majority else None


def score_predictions(task: Task, predictions: np.ndarray, labels: list[int]) -> dict[str, Any]:
    """Metrics of class predictions ``(rows,)`` against gold labels.

    Returns:
        ``rows``, ``accuracy``, ``f1`` if GLUE reports it, ``majority`` (accuracy of always answering the most frequent
        class) and ``above_chance`` ((accuracy - majority) / (1 - majority)).
    """
    scores = _metric("_".join(task.metrics)).compute(predictions=predictions.tolist(), references=labels)
    majority = max(Counter(labels).values()) / len(labels)
    return {
        "rows": len(labels),
        **scores,
        "majority": majority,
        "above_chance": above_chance(scores["accuracy"], majority),
    }


def agreement(teacher_logits: np.ndarray, student_logits: np.ndarray) -> dict[str, float | None]:
    """Share of texts on which both models predict the same class.

    Args:
        teacher_logits: ``(rows, num_labels)``, in the task's class order.
        student_logits: the same shape and order.

    Returns:
        ``raw``; ``majority``, the agreement of always answering the teacher's most frequent class; and
        ``above_chance``.
    """
    teacher, student = teacher_logits.argmax(axis=1), student_logits.argmax(axis=1)
    raw = float((teacher == student).mean())
    majority = float(np.bincount(teacher).max() / len(teacher))
    return {"raw": raw, "majority": majority, "above_chance": above_chance(raw, majority)}


def retention(
    scores: dict[str, dict[str, dict[str, Any]]],
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Student's accuracy as a share of the teacher's, raw and above the majority class, per evaluation set."""
    raw: dict[str, float | None] = {}
    above: dict[str, float | None] = {}
    for name, student in scores["student"].items():
        teacher = scores["teacher"][name]
        raw[name] = student["accuracy"] / teacher["accuracy"] if teacher["accuracy"] else None
        above[name] = above_chance(student["accuracy"], student["majority"], teacher["accuracy"])
    return raw, above
