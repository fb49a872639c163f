"""Numbers as people read them, rounded without hiding that something is not quite all or nothing."""

from __future__ import annotations

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
