"""Held-out inputs to which student and teacher give different classes, as examples for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zskd.metrics.scores import softmax

MOST_ROWS = 12
MOST_CHARACTERS = 300  # of a text
DIGITS = 4


def disagreements(
    texts: Sequence[Sequence[str]], teacher_logits: np.ndarray, student_logits: np.ndarray
) -> list[dict[str, Any]]:
    """The inputs with different classes on which the models differ most, by KL(teacher, student), the largest first.

    Args:
        texts: one or two columns of texts.
        teacher_logits: ``(rows, num_labels)``, in the task's class order.
        student_logits: the same shape and order.

    Returns:
        At most `MOST_ROWS` different inputs: ``texts``, each of at most `MOST_CHARACTERS` characters; the probabilities
        of ``teacher`` and ``student``; ``divergence`` in nats. Rows whose divergence is not finite are left out.
    """
    teacher, student = softmax(teacher_logits), softmax(student_logits)
    smallest = np.finfo(np.float64).tiny
    logs = np.log(np.maximum(teacher, smallest)) - np.log(np.maximum(student, smallest))
    divergence = (teacher * logs).sum(axis=1)
    differ = (teacher_logits.argmax(axis=1) != student_logits.argmax(axis=1)) & np.isfinite(divergence)
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for place in np.argsort(-divergence, kind="stable"):
        shown = tuple(cut_text(column[int(place)]) for column in texts)
        if not differ[place] or shown in found:
            continue
        found[shown] = {
            "texts": list(shown),
            "teacher": [round(p, DIGITS) for p in teacher[place].tolist()],
            "student": [round(p, DIGITS) for p in student[place].tolist()],
            "divergence": round(float(divergence[place]), DIGITS),
        }
        if len(found) == MOST_ROWS:
            break
    return list(found.values())


def cut_text(text: str) -> str:
    """A text of at most `MOST_CHARACTERS` characters; one that was longer ends with an ellipsis.

    Example:
        >>> cut_text("short"), len(cut_text("word " * 100))
        ('short', 300)
    """
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
