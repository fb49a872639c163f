"""Progress bars of long steps: on a terminal, and not with ``--quiet``. Imports neither torch nor transformers."""

from __future__ import annotations

import logging
import sys

from tqdm.auto import tqdm


def hidden() -> bool:
    """True where no bar shall appear: standard error is no terminal, or zskd's log says warnings only."""
    return not sys.stderr.isatty() or logging.getLogger("zskd").level > logging.INFO


def bar(description: str, total: int | None, unit: str) -> tqdm:
    """A bar with the expected end, where `total` says how much there is; it goes away when it is full."""
    return tqdm(total=total, desc=description, unit=unit, disable=hidden(), leave=False)
