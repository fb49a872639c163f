"""The transfer set during selection: labelled inputs, which of them stay, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from datasets import Dataset

from zskd.errors import InputError
from zskd.metrics.scores import probabilities

MIN_ROWS = 64
SHARE_DIGITS = 6  # of shares in files, far more than are shown: rounded twice, 51.852 % becomes 51.8 %, or few rows 0


@dataclass(frozen=True)
class TransferSet:
    """Labelled inputs, and those of them that the student learns from.

    Attributes:
        inputs: all labelled inputs: columns ``text``, for pairs ``text_b``, ``family`` and ``teacher_logits``.
        logits: ``(inputs, num_labels)`` float32, the teacher's, in the order of `labels`.
        labels: the task's.
        seed: the run's.
        rows: ``(rows,)`` indices of the inputs that stay, ascending; an input may stand there repeatedly.
        columns: further columns, ``(inputs, ...)`` numbers by name, which reach the hooks of a method in every batch.

    Example:
        >>> import numpy as np
        >>> from dataclasses import replace
        >>> from datasets import Dataset
        >>> logits = np.array([[2.0, 0.0], [0.0, 2.0], [3.0, 0.0]], dtype=np.float32)
        >>> inputs = Dataset.from_dict({"text": ["a", "b", "c"], "family": ["sentence"] * 3})
        >>> rows = TransferSet.of(inputs, logits, ("negative", "positive"), seed=0)
        >>> rows = replace(rows, rows=np.array([0, 1, 1, 2]), columns={"weight": np.array([1.0, 2.0, 1.0])})
        >>> rows.predicted.tolist(), rows.distinct, rows.dataset()["weight"][:]
        ([0, 1, 0], 3, [1.0, 2.0, 2.0, 1.0])
    """

    inputs: Dataset
    logits: np.ndarray
    labels: tuple[str, ...]
    seed: int
    rows: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Dataset, logits: np.ndarray, labels: tuple[str, ...], seed: int) -> TransferSet:
        """All inputs, once each."""
        return cls(inputs, logits, labels, seed, np.arange(len(logits)))

    @property
    def predicted(self) -> np.ndarray:
        """The teacher's class of every input, ``(inputs,)``."""
        return probabilities(self.logits).argmax(axis=1)  # rounding decides ties as in `report`

    @property
    def distinct(self) -> int:
        """How many inputs stay."""
        return len(np.unique(self.rows))

    def confident(self, min_confidence: float) -> TransferSet:
        """Without the inputs on which the teacher's largest probability is lower.

        Raises:
            InputError: fewer than `MIN_ROWS` inputs would stay.
        """
        confidence = probabilities(self.logits).max(axis=1)
        rows = self.rows[confidence[self.rows] >= min_confidence]
        if len(rows) < MIN_ROWS:
            raise InputError(
                f"--min-confidence {min_confidence}: expected at least {MIN_ROWS} inputs to stay, found {len(rows)} of "
                f"{len(self.logits)}; relax it or give other text"
            )
        return replace(self, rows=rows)

    def dataset(self) -> Dataset:
        """The rows that stay, with the further columns; the inputs themselves where all stay once."""
        found = self.inputs
        for name, values in self.columns.items():
            found = found.add_column(name, values.tolist())
        if np.array_equal(self.rows, np.arange(len(found))):
            return found
        return found.select(self.rows)

    def report(self) -> dict[str, dict[str, float]]:
        """Per class the teacher's share of all inputs and of the rows that stay, and its mean confidence on these."""
        p = probabilities(self.logits)
        predicted, confidence = p.argmax(axis=1), p.max(axis=1)
        report = {}
        for index, name in enumerate(self.labels):
            before, after = predicted == index, predicted[self.rows] == index
            report[name] = {
                "share_before": round(float(before.mean()), SHARE_DIGITS),
                "share": round(float(after.mean()), SHARE_DIGITS),
                "confidence": round(float(confidence[self.rows][after].mean()), 4) if after.any() else 0.0,
            }
        return report
