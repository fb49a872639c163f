"""Progress bars of long steps: on a terminal, and not with ``--quiet``. Imports neither torch nor transformers."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from tqdm.auto import tqdm

At: TypeAlias = Callable[[int, int, str], None]  # how much is done, of how much, and the unit of both


def hidden() -> bool:
    """True if no bar should appear: standard error is not a terminal, or zskd logs warnings only."""
    return not sys.stderr.isatty() or logging.getLogger("zskd").level > logging.INFO


def bar(description: str, total: int, unit: str, *, done: int = 0) -> tqdm:
    """A progress bar with the remaining time, which disappears when its step is finished.

    Args:
        unit: of `total`; bytes (``B``) are shown as kB, MB and so on.
        done: how much was done before.
    """
    scaled = unit == "B"
    return tqdm(
        total=total, desc=description, unit=unit if scaled else f" {unit}", unit_scale=scaled, initial=done,
        disable=hidden(), leave=False, dynamic_ncols=True,
    )  # fmt: skip


def nowhere(done: int, total: int, unit: str) -> None:
    """Tells nobody."""


@contextmanager
def reading(description: str) -> Iterator[At]:
    """A bar of a step that finds out by itself how much there is to do, and says so with every call."""
    shown: list[tqdm] = []

    def at(done: int, total: int, unit: str) -> None:
        if not shown:
            shown.append(bar(description, total, unit))
        shown[0].update(done - shown[0].n)

    try:
        yield at
    finally:
        for progress in shown:
            progress.close()


class LogHandler(logging.StreamHandler):
    """Writes log lines to standard error above the bars that are there, instead of over them."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)
