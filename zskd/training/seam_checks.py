"""What cannot work of methods in a trainer, said before it goes wrong in silence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zskd.config.methods.shares import rows_of
from zskd.methods.context import Training
from zskd.methods.method import MICRO, ROWS, Method


def check_names(methods: Sequence[Method]) -> None:
    """Each method has a name and a folder of its own in a checkpoint.

    Raises:
        ValueError: it has not.
    """
    for what, names in (("names", [m.name for m in methods]), ("folders", [m.folder or m.name for m in methods])):
        if "" in names:
            nameless = type(methods[names.index("")]).__name__
            raise ValueError(f"methods: expected a name for each, found none for {nameless}; set `name` in its class")
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"methods: expected {what} that differ, found {', '.join(sorted(repeated))} twice")


def check_shares(methods: Sequence[Method], training: Training) -> None:
    """No two methods change the same row of a batch.

    Raises:
        ValueError: together they change more rows than a whole batch has.
    """
    size = training.batch_size * training.accelerator.num_processes * training.accumulation
    counts = {method.name: rows_of(method.row_share, size) for method in methods}
    if sum(counts.values()) > size:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        raise ValueError(f"methods: expected to change at most the {size} rows of a batch together, found {shown}")


def check_method(method: Method, training: Training, live: bool) -> None:
    """Whether a method can work with how a batch is split, and has the teacher that it needs.

    Args:
        live: whether there is a live teacher.

    Raises:
        ValueError: it cannot, or has not.
    """
    size, accumulation, world = (
        training.batch_size, training.accumulation, training.accelerator.num_processes,
    )  # fmt: skip
    if method.wants_live_teacher and not live:
        raise ValueError(f"{method.name}: expected a teacher with weights (ZeroShotTrainer(teacher=...)), found none")
    coupling = method.coupling
    if coupling not in (ROWS, MICRO) and not (isinstance(coupling, int) and coupling > 0):
        raise ValueError(
            f"{method.name}: coupling: expected {ROWS!r}, {MICRO!r} or a number of rows, found {coupling!r}"
        )
    if isinstance(coupling, int) and size % coupling:
        raise ValueError(
            f"{method.name}: expected batches of a multiple of {coupling} rows "
            f"(per_device_train_batch_size), found {size}"
        )
    if coupling == MICRO and not method.splits and (accumulation > 1 or world > 1):
        raise ValueError(
            f"{method.name}: its rows depend on all other rows of a batch, so a batch cannot be split; found "
            f"{accumulation} accumulation steps and {world} processes; use one of each"
        )


def checked_rows(found: np.ndarray, count: int, name: str) -> np.ndarray:
    """A method's choice of an epoch's rows as int64.

    Args:
        found: indices ``(rows,)``.
        count: rows of the training data.
        name: the method's.

    Raises:
        ValueError: they are no indices, none, or more than `count`.
    """
    rows = np.asarray(found)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not 0 < len(rows) <= count:
        raise ValueError(
            f"{name}: epoch(): expected 1 to {count} indices of rows, found {rows.dtype} of shape {rows.shape}"
        )
    if rows.min() < 0 or rows.max() >= count:
        raise ValueError(f"{name}: epoch(): expected indices from 0 to {count - 1}, found {rows.min()} to {rows.max()}")
    return rows.astype(np.int64)
