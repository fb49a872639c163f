"""All methods by name, in the order in which their hooks are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from zskd.config.limits import flag
from zskd.config.methods import (
    adversarial,
    anchors,
    backward_pass,
    class_balance,
    feature_prior,
    inconsistent,
    messages,
    roles,
    selection,
    uncertainty_mixup,
)
from zskd.config.methods.shares import MIN_TRANSFER, share_problems
from zskd.config.methods.spec import MethodSpec
from zskd.config.option import default_of
from zskd.errors import InputError, nearest

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig

_PARTS = (
    class_balance,
    selection,
    roles,
    adversarial,
    uncertainty_mixup,
    anchors,
    backward_pass,
    inconsistent,
    feature_prior,
    messages,
)
METHODS: dict[str, MethodSpec] = {part.SPEC.name: part.SPEC for part in _PARTS}


def name_problems(names: list[str]) -> list[str]:
    """Problems with the values of ``--method``."""
    unknown = [
        f"--method {name}: expected one of {', '.join(METHODS)}, found {name!r}; {nearest(name, METHODS)}"
        for name in dict.fromkeys(names)
        if name not in METHODS
    ]
    return unknown + [
        f"--method {name}: expected each method once, found it {count} times"
        for name, count in Counter(names).items()
        if count > 1
    ]


def used_methods(config: DistillConfig) -> list[MethodSpec]:
    """The methods that ``--method`` names or other options ask for, in the table's order."""
    return [spec for spec in METHODS.values() if spec.name in config.method or spec.asked_for(config)]


def unused_options(config: DistillConfig, given: Collection[str]) -> list[str]:
    """A message per method that the run does not use, although some of its options are among those `given`.

    An option that turns its own method off counts as used.
    """
    lines = []
    for spec in METHODS.values():
        changed = {
            item.name: default_of(item)
            for item in fields(spec.options)
            if item.name in given and getattr(config, item.name) != default_of(item)
        }
        if changed and spec not in used_methods(config) and spec not in used_methods(replace(config, **changed)):
            flags = ", ".join(map(flag, changed))
            lines.append(f"{flags}: no effect without {spec.flag or f'--method {spec.name}'}")
    return lines


def batch_problems(config: DistillConfig, processes: int) -> list[str]:
    """Problems of the run's methods with batches of ``--batch-size`` rows that so many processes share."""
    used = used_methods(config)
    shares = {spec.share: getattr(config, spec.share) for spec in used if spec.share and spec.changes(config)}
    found = share_problems(config, shares)
    return found + [problem for spec in used for problem in spec.batch_problems(config, processes)]


def method_queries(config: DistillConfig) -> int:
    """Number of texts out of ``config.pool_size`` that the run's methods ask the teacher for.

    Raises:
        InputError: too few inputs are left for the transfer set.
    """
    assert config.pool_size is not None  # the task's default
    used = used_methods(config)
    found = sum(spec.queries(config) for spec in used)
    if found and config.pool_size - found < MIN_TRANSFER:
        parts = {spec.name: spec.queries(config) for spec in used}
        shown = ", ".join(f"{name} {count:,}" for name, count in parts.items() if count)
        larger = "raise it (a small --corpus limits it), or " if found < config.pool_size // 2 else ""
        raise InputError(
            f"--pool-size {config.pool_size}: expected at least {MIN_TRANSFER} inputs beside those that methods ask "
            f"the teacher for, found {found:,} of them ({shown}), which grow with the pool; {larger}lower --epochs, or "
            "the methods' shares of a batch"
        )
    return found
