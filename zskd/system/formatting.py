"""Numbers as people read them, rounded without hiding that something is not quite all or nothing."""

from __future__ import annotations

from collections.abc import Sequence

MOST_DIGITS = 6


def in_percent(share: float, digits: int = 1) -> str:
    """A share in percent without the unit.

    A share that is not 0 or 1 is never shown as 0 or 100: it gets as many digits as that takes, up to `MOST_DIGITS`.

    Example:
        >>> in_percent(0.5), in_percent(1.0), in_percent(0.9996), in_percent(0.0002, digits=0)
        ('50.0', '100.0', '99.96', '0.02')
    """
    percent = 100 * share
    for more in range(digits, MOST_DIGITS + 1):
        text = f"{percent:z.{more}f}"
        if float(text) not in (0.0, 100.0):
            return text
        if abs(percent - float(text)) < 0.1**MOST_DIGITS:
            break
    return f"{percent:z.{digits}f}"


def about(seconds: float) -> str:
    """Seconds as an estimate is read: from two minutes on in whole minutes, from two hours on with hours.

    Example:
        >>> about(42.4), about(605), about(7_500), about(200_000)
        ('42 s', '10 min', '2 h 5 min', '55 h 33 min')
    """
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def duration(seconds: float) -> str:
    """Seconds with two significant digits where there are few of them, from two minutes on in minutes.

    Example:
        >>> duration(0.042), duration(3.21), duration(75.4), duration(605), duration(0)
        ('0.042 s', '3.2 s', '75 s', '10 min 5 s', '0 s')
    """
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"


def between(values: Sequence[float], digits: int) -> str:
    """Two numbers as a range; nothing if there are none.

    Example:
        >>> between([0.512, 1204.25], 1), between([], 1)
        ('0.5 to 1,204.2', '')
    """
    return " to ".join(f"{value:,.{digits}f}" for value in values)
