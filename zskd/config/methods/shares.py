"""How many rows of a batch, and of a run, a method asks a live teacher for: known before anything loads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zskd.config.limits import flag, limit_problems

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig

MIN_TRANSFER = 64  # smallest transfer set that remains beside the methods' queries


def rows_of(share: float, batch: int) -> int:
    """How many of `batch` rows a share is.

    Example:
        >>> rows_of(0.125, 64), rows_of(0.0, 64)
        (8, 0)
    """
    return round(share * batch)


def steps_before(progress: float, steps: int) -> int:
    """How many of a run's optimizer steps begin before a share of them is over.

    Example:
        >>> steps_before(0.6, 10), steps_before(1.0, 10), steps_before(0.0, 10)
        (6, 10, 0)
    """
    return sum(number / steps < progress for number in range(steps))


def asked_rows(config: DistillConfig, share: float, until: float = 1.0) -> int:
    """Rows that a method takes in all steps of a run: a share of each batch, until a share of the steps is over."""
    from zskd.config.distillation import optimizer_steps

    assert config.pool_size is not None  # the task's default
    steps = optimizer_steps(config, config.pool_size)
    return steps_before(until, steps) * rows_of(share, config.batch_size * config.gradient_accumulation)


def share_problems(config: DistillConfig, shares: dict[str, float]) -> list[str]:
    """Shares of a batch that are above 0 but no row, or that are more than a batch together.

    Args:
        shares: option -> share of a batch that its method changes with the other options that it has.
    """
    if limit_problems(config):
        return []  # which say more
    batch = config.batch_size * config.gradient_accumulation
    found = [
        f"{flag(name)} {share:g}: expected at least one row of every {batch} (--batch-size {config.batch_size}), found "
        f"none; use at least {math.ceil(1000 / batch) / 1000:g}, or 0"
        for name, share in shares.items()
        if share > 0 and not rows_of(share, batch)
    ]
    if sum(rows_of(share, batch) for share in shares.values()) > batch:
        listed = ", ".join(f"{flag(name)} {share:g}" for name, share in shares.items() if share)
        found.append(f"{listed}: expected at most 1 together, found {sum(shares.values()):g}; lower one of them")
    return found


def split_problems(config: DistillConfig, processes: int, why: str) -> list[str]:
    """A batch that is split, with a method that needs it whole.

    Args:
        why: which method needs it, and what for.
    """
    split = [f"--gradient-accumulation {config.gradient_accumulation}"] if config.gradient_accumulation > 1 else []
    split += [f"--num-processes {processes}"] if processes > 1 else []
    return [f"{each}: expected 1 with --method {why}" for each in split]


def gold_problems(config: DistillConfig, *, black_box: bool) -> list[str]:
    """Labelled rows beside a method that changes rows."""
    if config.gold_labels is None:
        return []
    return ["--gold-labels: a method changes rows, and their labels would not hold; leave out either"]
