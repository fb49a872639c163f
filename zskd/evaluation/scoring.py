"""Scoring a classifier on labelled rows. It is used after training, and before it by the teacher gate on the probe."""

from __future__ import annotations

from typing import Any

import numpy as np

from zskd.metrics.scores import score_predictions
from zskd.models.encoding import Cuts
from zskd.tasks.labelled import Labelled
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher


def predict_classes(
    classifier: Teacher, texts: tuple[list[str], ...], max_length: int, precision: str, cuts: Cuts | None = None
) -> np.ndarray:
    """Predicted class indices ``(rows,)`` in the task's order."""
    return classifier.logits(texts, max_length=max_length, precision=precision, cuts=cuts).argmax(axis=1)


def evaluate_rows(
    task: Task, rows: Labelled, classifier: Teacher, max_length: int, precision: str, cuts: Cuts | None = None
) -> dict[str, Any]:
    """Scores of a classifier on labelled rows; see `score_predictions`. `cuts` counts the rows that are cut."""
    return score_predictions(task, predict_classes(classifier, rows.texts, max_length, precision, cuts), rows.labels)
