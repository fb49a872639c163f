"""Checking option values against the limits of their fields."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from zskd.config.option import default_of
from zskd.system.paths import name_problem
from zskd.system.yaml_text import brief

Options = TypeVar("Options", bound=Any)

# Upper limits that several options share: far beyond all use, and small enough that no product of them overflows.
MOST_ROWS = 1_000_000_000  # texts, rows and tokens
LENGTHS = (8, 512)  # tokens of an input in a training or a labelling
MOST_STEPS = 100_000_000  # optimizer steps
MOST_AT_ONCE = 1_000_000  # rows of a batch or step
MOST_CHECKPOINTS = 10_000
MOST_EPOCHS = 100_000.0
MOST_PROCESSES = 4_096
HOTTEST = 1_000.0  # temperature: beyond it all classes are equal in float32
HEAVIEST = 1_000_000.0  # weight of a term of a loss


def flag(name: str) -> str:
    """``batch_size`` -> ``--batch-size``."""
    return "--" + name.replace("_", "-")


def flag_of(problem: str) -> str:
    """The flag that a message begins with, or what else stands there."""
    return problem.replace(":", " ").partition(" ")[0]


def limit_problems(options: Any, *, of: type | None = None, shown: Callable[[str], str] = flag) -> list[str]:
    """Messages for values that are not among the choices, not finite, beyond a limit, or no text that names anything.

    Args:
        options: an instance of a dataclass of `zskd.config.option.option` fields.
        of: the dataclass whose fields are checked; default: that of `options`.
        shown: function from a field's name to the option's name in messages.
    """
    return [
        f"{shown(item.name)}: {problem}"
        for item in dataclasses.fields(of or options)
        for problem in _problems(item, getattr(options, item.name))
    ]


def within_limits(options: Options) -> Options:
    """The options, with the default in place of every value that `limit_problems` names."""
    named = [item for item in dataclasses.fields(options) if _problems(item, getattr(options, item.name))]
    return dataclasses.replace(options, **{item.name: default_of(item) for item in named})


def _problems(item: Any, value: Any) -> list[str]:
    meta = item.metadata
    if value is None and item.default is None:  # the task's default, or an option that is not in use
        return []
    if problem := text_problem(item, value):
        return [problem]
    if "choices" in meta and value not in meta["choices"]:
        return [f"expected one of {', '.join(meta['choices'])}, found {brief(value)}"]
    if "pattern" in meta and not re.fullmatch(meta["pattern"], str(value)):
        return [f"expected {meta['expected']}, found {brief(value)}"]
    if isinstance(value, str | list | bool | None):
        return []
    if isinstance(value, float) and not math.isfinite(value):
        return [f"expected a finite number, found {brief(value)}"]
    if "low" in meta and not value >= meta["low"]:
        return [f"expected at least {meta['low']}, found {brief(value)}"]
    if "high" in meta and not value <= meta["high"]:
        return [f"expected at most {meta['high']}, found {brief(value)}"]
    return []


def text_problem(item: Any, value: Any) -> str | None:
    """Why a text, or a text of a list, can be the value of an option's field; None for numbers and for the default."""
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str) or value == default_of(item):
            continue
        if not text.strip():
            return "expected a value, found an empty text; leave the option out"
        if problem := name_problem(text, any_length=item.metadata.get("any_length", False)):
            return problem
    return None
