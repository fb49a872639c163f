"""Progress bars of long steps: on a terminal, and not with ``--quiet``. Imports neither torch nor transformers."""

from __future__ import annotations

import logging
import sys

from tqdm.auto import tqdm


def hidden() -> bool:
    """True if no bar should appear: standard error is not a terminal, or zskd logs warnings only."""
    return not sys.stderr.isatty() or logging.getLogger("zskd").level > logging.INFO


def bar(description: str, total: int | None, unit: str) -> tqdm:
    """A progress bar that disappears when it is full; it shows the remaining time if `total` is given."""
    return tqdm(total=total, desc=description, unit=unit, disable=hidden(), leave=False)
