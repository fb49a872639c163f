"""The class balance of the transfer set: inputs of classes that the teacher rarely predicts are repeated.

A student that sees one class three times as often as another prefers that class wherever it is unsure
(docs/measurements.md). No labelled input is dropped, because each one has cost a query.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zskd.config.methods.class_balance import ClassBalanceOptions
from zskd.errors import InputError
from zskd.methods.method import Method
from zskd.system.seeds import Stream, generator
from zskd.transfer.transfer_set import MIN_ROWS, TransferSet


class ClassBalance(Method):
    """Where the teacher predicts one class for more than ``max_class_share`` of the rows, the others are repeated.

    All inputs of a class are repeated about equally often, until the share holds. Neutral with ``max_class_share=1``.
    It works on a transfer set, so `zskd.distill` uses it; a trainer, which is given its rows, has nothing for it to do.

    Args:
        options: None for the defaults.

    Example:
        >>> from zskd.config.methods.class_balance import ClassBalanceOptions
        >>> from zskd.methods.class_balance import ClassBalance
        >>> ClassBalance(ClassBalanceOptions(max_class_share=0.5)).name
        'class-balance'
    """

    name = "class-balance"

    def __init__(self, options: ClassBalanceOptions | None = None) -> None:
        self.options = options or ClassBalanceOptions()

    def transfer_set(self, rows: TransferSet) -> TransferSet:
        """Repeat rows of rare classes.

        Raises:
            InputError: fewer than `MIN_ROWS` rows would be left if the frequent classes were cut back instead.
        """
        limit = self.options.max_class_share
        if limit >= 1.0:
            return rows
        classes = rows.predicted[rows.rows]
        counts = np.bincount(classes, minlength=len(rows.labels))
        balanced = np.minimum(counts, _largest_cap(counts, limit))
        enough = int(balanced.sum())
        if enough < MIN_ROWS:
            raise InputError(
                f"--max-class-share {limit}: expected at least {MIN_ROWS} inputs whose classes are in balance, found "
                f"{enough} of {len(rows.logits)}; relax it or give other text"
            )
        weights = balanced / np.maximum(counts, 1)
        return replace(rows, rows=_repeated(rows.rows, classes, weights, generator(Stream.REPETITION, rows.seed)))


def _repeated(rows: np.ndarray, classes: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Repeat rows in proportion to the weight of their class; each row appears at least once.

    Args:
        weights: ``(num_labels,)``, above 0 for every class of `classes`.
    """
    times = weights[classes] / weights[classes].min()
    copies = times.astype(np.int64)
    for index in np.unique(classes):
        own = np.flatnonzero(classes == index)
        missing = round(times[own].sum()) - int(copies[own].sum())
        copies[rng.choice(own, size=missing, replace=False)] += 1
    repeated: np.ndarray = np.repeat(rows, copies)
    return repeated


def _largest_cap(counts: np.ndarray, share: float) -> int:
    """The largest number of rows per class at which no class has more than `share` of all rows; 0 if there is none."""
    low, high = 0, int(counts.max())
    if high <= share * counts.sum() + 1e-9:
        return high
    # The share of the capped classes grows with the cap, so bisection finds the largest cap that holds.
    while low < high:
        middle = (low + high + 1) // 2
        holds = middle <= share * np.minimum(counts, middle).sum() + 1e-9
        low, high = (middle, high) if holds else (low, middle - 1)
    return low
