"""Checking option values against the limits of their fields."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

from zskd.system.yaml_text import brief


def flag(name: str) -> str:
    """``batch_size`` -> ``--batch-size``."""
    return "--" + name.replace("_", "-")


def limit_problems(options: Any, *, of: type | None = None, shown: Callable[[str], str] = flag) -> list[str]:
    """Messages for values that are not among the choices, not finite, or beyond a limit.

    Args:
        options: an instance of a dataclass of `zskd.config.option.option` fields.
        of: the dataclass whose fields are checked; default: that of `options`.
        shown: function from a field's name to the option's name in messages.
    """
    problems = []
    for item in dataclasses.fields(of or options):
        value, meta, name = getattr(options, item.name), item.metadata, shown(item.name)
        if value is None and item.default is None:  # the task's default, or an option that is not in use
            continue
        if "choices" in meta and value not in meta["choices"]:
            problems.append(f"{name}: expected one of {', '.join(meta['choices'])}, found {brief(value)}")
        if "pattern" in meta and not re.fullmatch(meta["pattern"], str(value)):
            problems.append(f"{name}: expected {meta['expected']}, found {brief(value)}")
        if isinstance(value, str | list | bool | None):
            continue
        if not math.isfinite(value):
            problems.append(f"{name}: expected a finite number, found {brief(value)}")
            continue
        if "low" in meta and not value >= meta["low"]:
            problems.append(f"{name}: expected at least {meta['low']}, found {brief(value)}")
        if "high" in meta and not value <= meta["high"]:
            problems.append(f"{name}: expected at most {meta['high']}, found {brief(value)}")
    return problems
