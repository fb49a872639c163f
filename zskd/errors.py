"""The two ways a run can end badly, and the exit code of each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class ZskdError(Exception):
    """Base of every error that zskd reports without a traceback.

    Example:
        >>> import zskd
        >>> try:
        ...     zskd.find_task("sst3")
        ... except zskd.ZskdError as error:
        ...     print(error.exit_code, type(error).__name__)
        2 InputError
    """

    exit_code = 1


class InputError(ZskdError):
    """Something the user gave is wrong; nothing was started. Exit code 2.

    Args:
        problems: one message, or all the problems that were found together.

    Attributes:
        problems: the messages, one for each problem.

    Example:
        >>> InputError(["epochs: expected ...", "seed: expected ..."]).problems
        ['epochs: expected ...', 'seed: expected ...']
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class RunError(ZskdError):
    """The input was fine but the run failed (download, disk, collapse). Exit code 1.

    Example:
        >>> RunError("the download broke off").exit_code
        1
    """


MOST_SHOWN = 40  # names in a hint


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest valid spelling, or the valid ones, of many the first."""
    known = list(known)
    if close := difflib.get_close_matches(name, known, n=1, cutoff=0.5):
        return f"did you mean {close[0]!r}?"
    more = f" and {len(known) - MOST_SHOWN} more" if len(known) > MOST_SHOWN else ""
    return "known: " + ", ".join(known[:MOST_SHOWN]) + more
