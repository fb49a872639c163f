"""When a student may answer: agreement with the teacher on the inputs on which the student is sure enough."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import betaincinv

from zskd.errors import InputError
from zskd.metrics.scores import softmax

THRESHOLDS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 0.99, 0.995, 0.999)
CERTAINTY = 0.95  # with which all bounds of a table hold together


def coverage(teacher: np.ndarray, student: np.ndarray) -> list[dict[str, Any]]:
    """Agreement over coverage: one row for each of `THRESHOLDS` of the student's confidence.

    The bounds are those of Clopper and Pearson ("The use of confidence or fiducial limits", 1934), one-sided and exact.
    They hold together with a probability of `CERTAINTY`, so that any row may be chosen after looking at all: each holds
    with a probability of 1 - (1 - `CERTAINTY`) / rows (Bonferroni). They are about inputs like these, drawn
    independently.

    Args:
        teacher, student: logits ``(rows, num_labels)`` of the same inputs.

    Returns:
        Per threshold ``threshold`` (of the student's largest probability), ``rows`` (inputs that reach it),
        ``coverage`` (their share), ``agreement`` (share of them with the teacher's class; None without rows) and
        ``bound`` (what the agreement is at least).

    Example:
        >>> import numpy as np
        >>> teacher = np.array([[9.0, 0.0]] * 400)
        >>> student = np.array([[9.0, 0.0]] * 300 + [[0.0, 0.1]] * 100)
        >>> sure = next(row for row in coverage(teacher, student) if row["threshold"] == 0.9)
        >>> sure["coverage"], sure["agreement"], round(sure["bound"], 3)
        (0.75, 1.0, 0.981)
    """
    confidence, same = softmax(student).max(axis=1), teacher.argmax(axis=1) == student.argmax(axis=1)
    error = (1 - CERTAINTY) / len(THRESHOLDS)
    found = []
    for threshold in THRESHOLDS:
        reached = confidence >= threshold
        rows, agreed = int(reached.sum()), int(same[reached].sum())
        found.append(
            {
                "threshold": threshold,
                "rows": rows,
                "coverage": rows / len(confidence),
                "agreement": agreed / rows if rows else None,
                "bound": float(betaincinv(agreed, rows - agreed + 1, error)) if agreed else 0.0,
            }
        )
    return found


def row_for(table: list[dict[str, Any]], least: float) -> dict[str, Any] | None:
    """The row of a `coverage` table that answers most inputs with an agreement of at least `least`; None if none does.

    Example:
        >>> table = [{"coverage": 1.0, "bound": 0.7}, {"coverage": 0.4, "bound": 0.96}]
        >>> row_for(table, 0.95)["coverage"], row_for(table, 0.99)
        (0.4, None)
    """
    fit = [row for row in table if row["bound"] >= least]
    return max(fit, key=lambda row: row["coverage"], default=None)


def require_row(table: list[dict[str, Any]], least: float, shown: str) -> dict[str, Any]:
    """`row_for`, or an error that says what was proven.

    Args:
        shown: flag and value that ask for it, for the message.

    Raises:
        InputError: no threshold has such a bound.
    """
    if (row := row_for(table, least)) is not None:
        return row
    best = max(table, key=lambda row: (row["bound"], row["coverage"]))
    raise InputError(
        f"{shown}: expected a threshold with an agreement of at least {least:g} on held-out text, found at most "
        f"{best['bound']:.3f}, for the {100 * best['coverage']:.0f} % of the inputs on which the student is surest; "
        "ask for less"
    )
