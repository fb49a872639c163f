"""Progress bars of long steps: on a terminal or in a notebook, and not with ``--quiet``.

A bar is one line of text that is written again, in a notebook too: that needs no widgets. Imports neither torch nor
transformers.
"""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from tqdm import TqdmWarning, tqdm

# Libraries import this. In a notebook without ipywidgets it warns once that its bars are text as well.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)
    importlib.import_module("tqdm.auto")

At: TypeAlias = Callable[[int, int, str], None]  # how much is done, of how much, and the unit of both

# A cell says nothing of its width, and whatever is written to it may be kept in the notebook.
CELL, EVERY = 100, 1.0  # characters, seconds


def in_notebook() -> bool:
    """True if standard error is a notebook's cell."""
    return type(sys.stderr).__module__ == "ipykernel.iostream"


def hidden() -> bool:
    """True if no bar should appear: standard error is neither a terminal nor a cell, or zskd logs warnings only."""
    return not (sys.stderr.isatty() or in_notebook()) or logging.getLogger("zskd").level > logging.INFO


def bar(description: str, total: int, unit: str, *, done: int = 0) -> tqdm:
    """A progress bar with the remaining time, which disappears when its step is finished.

    Args:
        unit: of `total`; bytes (``B``) are shown as kB, MB and so on.
        done: how much was done before.
    """
    scaled, cell = unit == "B", in_notebook()
    return tqdm(
        total=total, desc=description, unit=unit if scaled else f" {unit}", unit_scale=scaled, initial=done,
        disable=hidden(), leave=False, dynamic_ncols=not cell, ncols=CELL if cell else None,
        mininterval=EVERY if cell else 0.1,
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
