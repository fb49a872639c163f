"""The teacher gate: before training, a probe checks that the teacher can do its task."""

from __future__ import annotations

import logging
from math import sqrt
from typing import Any

import numpy as np

from zskd.errors import InputError
from zskd.evaluation.scoring import predict_classes
from zskd.metrics.scores import score_predictions
from zskd.models.encoding import Cuts
from zskd.tasks.labelled import read_column, read_labelled
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher

logger = logging.getLogger(__name__)

STANDARD_ERRORS = 2.0
PHENOMENON = "phenomenon"
MIN_PLAIN_ROWS = 50  # with fewer plain rows, all rows of the probe decide


def check_teacher(task: Task, teacher: Teacher, max_length: int) -> dict[str, Any] | None:
    """Score the teacher on the task's probe and refuse a teacher that is not better than chance.

    If the probe marks plain rows (column `PHENOMENON`), only these decide. They show whether a teacher can do its task;
    the difficult rows show how well. A small teacher can be far below chance on pairs that were written against word
    overlap, and still do the task.

    Returns:
        The scores on the whole probe, with ``plain`` (rows and accuracy that decided), the ``threshold`` for the
        accuracy, and ``cut``, the number of rows that were longer than `max_length` (None for a callable); None if the
        task has no probe.

    Raises:
        InputError: the accuracy is not above the majority class by `STANDARD_ERRORS` standard errors. A swapped
            label order scores far below it.
    """
    path = task.probe_path()
    if path is None:
        logger.warning("teacher: %s has no probe, so it is not checked whether the teacher can do its task", task.name)
        return None
    probe = read_labelled(task, path)
    cuts = Cuts(max_length)
    predictions, labels = predict_classes(teacher, probe.texts, max_length, "fp32", cuts), np.array(probe.labels)
    cuts.tell("teacher, probe", "rows")
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
            + ("its labels seem to be swapped; see --label-map" if swapped else "is it a teacher for this task?")
        )
    scores = score_predictions(task, predictions, probe.labels)
    logger.info("teacher: %.3f on the probe, %.3f on its plain rows", scores["accuracy"], accuracy)
    return {**scores, "plain": {"rows": gate["rows"], "accuracy": accuracy}, "threshold": threshold, "cut": cuts.cut}
