"""Scores: GLUE's metrics, the score above chance, and agreement with the teacher.

Everything here runs after training, except the teacher gate's look at the packaged probe.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from zskd.tasks.labelled import Labelled
from zskd.tasks.task import Task
from zskd.teacher.blackbox import BlackBox
from zskd.teacher.classifier import Classifier
from zskd.teacher.labelling import predict_logits


@cache
def _metric(config_name: str) -> Any:
    # `evaluate` asks the Hub for usage counts and updates unless told not to.
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    import evaluate

    module = Path(str(resources.files("zskd"))) / "metrics" / "glue_score"
    return evaluate.load(str(module), config_name, keep_in_memory=True)


def above_chance(score: float, majority: float, reference: float = 1.0) -> float | None:
    """(score - majority) / (reference - majority); None where the reference is not above the majority."""
    return (score - majority) / (reference - majority) if reference > majority else None


def score_predictions(task: Task, predictions: np.ndarray, labels: list[int]) -> dict[str, Any]:
    """Metrics of class predictions ``(rows,)`` against gold labels.

    Returns:
        ``rows``, ``accuracy``, ``f1`` where GLUE has it, ``majority`` (accuracy of always answering the most
        frequent class) and ``above_chance`` ((accuracy - majority) / (1 - majority)).
    """
    scores = _metric("_".join(task.metrics)).compute(predictions=predictions.tolist(), references=labels)
    majority = max(Counter(labels).values()) / len(labels)
    return {
        "rows": len(labels),
        **scores,
        "majority": majority,
        "above_chance": above_chance(scores["accuracy"], majority),
    }


def predict_classes(
    classifier: Classifier | BlackBox, texts: tuple[list[str], ...], max_length: int, precision: str
) -> np.ndarray:
    """Predicted class indices ``(rows,)`` in the task's order."""
    logits = predict_logits(classifier, texts, max_length=max_length, precision=precision)
    return logits[:, list(classifier.order)].argmax(axis=1)


def evaluate_rows(
    task: Task, rows: Labelled, classifier: Classifier | BlackBox, max_length: int, precision: str
) -> dict[str, Any]:
    """Scores of a classifier on labelled rows; see `score_predictions`."""
    return score_predictions(task, predict_classes(classifier, rows.texts, max_length, precision), rows.labels)


def agreement(teacher_logits: np.ndarray, student_logits: np.ndarray) -> dict[str, float | None]:
    """Share of texts on which both models' largest logits name the same class.

    Args:
        teacher_logits: ``(rows, num_labels)``, in the task's class order.
        student_logits: the same shape and order.

    Returns:
        ``raw``; ``majority``, what always answering the teacher's most frequent class reaches; and
        ``above_chance``.
    """
    teacher, student = teacher_logits.argmax(axis=1), student_logits.argmax(axis=1)
    raw = float((teacher == student).mean())
    majority = float(np.bincount(teacher).max() / len(teacher))
    return {"raw": raw, "majority": majority, "above_chance": above_chance(raw, majority)}
