"""An option: a dataclass field that defines the flag, the YAML key, the help text and the limits."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, help: str, **metadata: Any) -> Any:
    """A dataclass field that `zskd.cli.parser` turns into a flag.

    Args:
        help: help text for ``--help``; for ``--help-all``, if there is a ``brief``.
        metadata: ``group``, the title in the help (none for options of a method, which are listed under its name); the
            limits ``low``, ``high`` and ``choices``; ``pattern`` of a text, and ``expected``, the same in words;
            ``any_length=True`` for a text that is neither name nor path; ``brief``, one line for a verb's short help,
            in which ``{default}`` and ``{choices}`` are filled in; ``metavar`` of a list; ``separator`` of a list's
            values; ``positional``, the name of an argument without a flag; ``model=True`` for a model folder or Hub id.
    """
    metadata["help"] = help
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def default_of(item: Any) -> Any:
    """The default of a field of `option`."""
    return item.default_factory() if callable(item.default_factory) else item.default
