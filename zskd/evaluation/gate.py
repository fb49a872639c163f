"""The teacher gate: before anything is learnt, a packaged probe shows that the teacher does its task at all."""

from __future__ import annotations

import logging
from math import sqrt
from typing import Any

import numpy as np

from zskd.errors import InputError
from zskd.evaluation.scoring import predict_classes
from zskd.metrics.scores import score_predictions
from zskd.tasks.labelled import read_column, read_labelled
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher

logger = logging.getLogger(__name__)

STANDARD_ERRORS = 2.0
PHENOMENON = "phenomenon"
MIN_PLAIN_ROWS = 50  # with fewer, every row of the probe decides


def check_teacher(task: Task, teacher: Teacher, max_length: int) -> dict[str, Any] | None:
    """Score the teacher on the task's probe and refuse one at or below chance.

    The probe's plain rows decide, where it marks them (column `PHENOMENON`): they show whether a teacher does its
    task, the difficult ones how well. A small teacher can be far below chance on pairs written against word overlap
    and yet do the task.

    Returns:
        The scores on the whole probe, with ``plain`` (rows and accuracy that decided) and the ``threshold`` that the
        accuracy had to pass; None where the task has no probe.

    Raises:
        InputError: the accuracy is not above the majority class by `STANDARD_ERRORS` standard errors. A swapped
            label order scores far below it.
    """
    path = task.probe_path()
    if path is None:
        logger.warning(
            "teacher: %s has no probe, so nothing shows that the teacher does its task before it is asked", task.name
        )
        return None
    probe = read_labelled(task, path)
    predictions, labels = predict_classes(teacher, probe.texts, max_length, "fp32"), np.array(probe.labels)
    plain = np.array([value == "plain" for value in read_column(path, PHENOMENON)])
    deciding = plain if plain.sum() >= MIN_PLAIN_ROWS else np.ones(len(labels), dtype=bool)
    gate = score_predictions(task, predictions[deciding], labels[deciding].tolist())
    accuracy, majority = gate["accuracy"], gate["majority"]
    threshold = majority + STANDARD_ERRORS * sqrt(majority * (1 - majority) / gate["rows"])
    if accuracy <= threshold:
        swapped = accuracy < majority - (threshold - majority)
        raise InputError(
            f"--teacher {teacher.name}: expected more than {threshold:.3f} accuracy on the {gate['rows']} plain rows "
            f"of the {task.name} probe (chance is {majority:.3f}), found {accuracy:.3f}; "
            + ("its labels seem to be swapped: see --label-map" if swapped else "is it a teacher for this task?")
        )
    scores = score_predictions(task, predictions, probe.labels)
    logger.info("teacher: %.3f on the probe, %.3f on its plain rows", scores["accuracy"], accuracy)
    return {**scores, "plain": {"rows": gate["rows"], "accuracy": accuracy}, "threshold": threshold}
