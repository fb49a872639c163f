"""Answering only where a student's confidence reaches a proven threshold, and deferring the rest to its teacher."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zskd.errors import InputError
from zskd.metrics.coverage import require_row
from zskd.metrics.scores import softmax
from zskd.models.encoding import Cuts
from zskd.models.folder_checks import run_folder
from zskd.runs.read import read_part
from zskd.system.formatting import in_percent
from zskd.teacher.base import Teacher

logger = logging.getLogger(__name__)

STUDENT, TEACHER, DEFERRED = "student", "teacher", "deferred"


@dataclass
class Deferral:
    """Who answers which input.

    Attributes:
        threshold: least confidence of the student, its largest probability.
        teacher: who answers the rest; None to leave it without a label.
        max_length: tokens of an input that the teacher reads, fewer if it reads fewer.
        answered: inputs until now, by who answered.
    """

    threshold: float
    teacher: Teacher | None = None
    max_length: int = 512
    cuts: Cuts = field(init=False)
    answered: dict[str, int] = field(default_factory=lambda: dict.fromkeys((STUDENT, TEACHER, DEFERRED), 0))

    def __post_init__(self) -> None:
        """Find out how much the teacher reads."""
        reads = self.teacher.reading_length if self.teacher else None
        self.max_length = min(self.max_length, reads or self.max_length)
        self.cuts = Cuts(self.max_length)

    def decide(self, rows: list[tuple[str, ...]], probabilities: np.ndarray) -> list[str]:
        """Who answers each row; the teacher's probabilities replace the student's ``(rows, num_labels)`` in place."""
        unsure = np.flatnonzero(probabilities.max(axis=1) < self.threshold)
        by = [STUDENT] * len(rows)
        if len(unsure) and self.teacher is not None:
            columns = tuple(list(column) for column in zip(*(rows[i] for i in unsure), strict=True))
            probabilities[unsure] = softmax(self.teacher.logits(columns, max_length=self.max_length, cuts=self.cuts))
        for i in unsure:
            by[i] = DEFERRED if self.teacher is None else TEACHER
        for who in by:
            self.answered[who] += 1
        return by

    def tell(self, name: str) -> None:
        """Log how many lines of an input the student answered, and what was cut for the teacher."""
        self.cuts.tell(f"{name}, teacher", "lines")
        if lines := sum(self.answered.values()):
            rest = TEACHER if self.teacher else DEFERRED
            logger.info(
                "%s: the student answered %s of %s lines (%s %%); %s: %s", name, f"{self.answered[STUDENT]:,}",
                f"{lines:,}", in_percent(self.answered[STUDENT] / lines), rest, f"{self.answered[rest]:,}",
            )  # fmt: skip


def coverage_of(model: str, shown: str) -> list[dict[str, Any]]:
    """The table of `zskd.metrics.coverage.coverage` of a run folder, or of the run that a student's folder is part of.

    Args:
        shown: flag and value that ask for it, for the message.

    Raises:
        InputError: the model is no finished run's student, or an earlier version finished it.
    """
    run = run_folder(model)
    details = read_part(run, "analysis.json")
    if details is None:
        raise InputError(f"{shown}: expected the folder of a finished run as --model, found no analysis.json in {run}")
    rows: list[dict[str, Any]] | None = details.get("coverage")
    if not rows:
        raise InputError(
            f"{shown}: expected the agreement over coverage in {run / 'analysis.json'}, found none, because an earlier "
            "version of zskd wrote it; distil anew"
        )
    return rows


def proven_threshold(model: str, least: float) -> float:
    """The threshold at which the student of a run answers most, with an agreement of at least `least`.

    Raises:
        InputError: no threshold has such a bound; see also `coverage_of`.
    """
    shown = f"--min-agreement {least:g}"
    row = require_row(coverage_of(model, shown), least, shown)
    logger.info(
        "the student answers with a confidence of at least %g: %s %% of held-out text, on which it agrees with the "
        "teacher in %s %% (with 95 %% certainty in at least %s %% of text like that; other text may differ)",
        row["threshold"], in_percent(row["coverage"]), in_percent(row["agreement"]), in_percent(row["bound"]),
    )  # fmt: skip
    return float(row["threshold"])
