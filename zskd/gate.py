"""The teacher gate: before anything is learnt, a packaged probe shows that the teacher does its task at all."""

from __future__ import annotations

from math import sqrt
from typing import Any

from zskd.errors import InputError
from zskd.models.classifier import Classifier
from zskd.scoring import evaluate_rows
from zskd.tasks import Task, read_labelled

STANDARD_ERRORS = 2.0


def check_teacher(task: Task, teacher: Classifier, max_length: int) -> dict[str, Any] | None:
    """Score the teacher on the task's probe and refuse one at or below chance.

    Returns:
        The scores, with the ``threshold`` that the accuracy had to pass; None where the task has no probe.

    Raises:
        InputError: the accuracy is not above the majority class by `STANDARD_ERRORS` standard errors. A swapped
            label order scores far below it.
    """
    path = task.probe_path()
    if path is None:
        return None
    scores = evaluate_rows(task, read_labelled(task, path), teacher, max_length, "fp32")
    majority = scores["majority"]
    threshold = majority + STANDARD_ERRORS * sqrt(majority * (1 - majority) / scores["rows"])
    if scores["accuracy"] <= threshold:
        swapped = scores["accuracy"] < majority - (threshold - majority)
        raise InputError(
            f"--teacher {teacher.name}: expected more than {threshold:.3f} accuracy on the {task.name} probe "
            f"(chance is {majority:.3f}), found {scores['accuracy']:.3f}; "
            + ("its labels seem to be swapped: see --label-map" if swapped else "is it a teacher for this task?")
        )
    return {**scores, "threshold": threshold}
