"""Rounding never says all or nothing of what is not quite that."""

from __future__ import annotations

import pytest

from zskd.system.formatting import about, duration, in_percent


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.0, 1, "0.0"), (1.0, 1, "100.0"), (0.5, 1, "50.0"), (0.3333, 0, "33"), (0.9994, 1, "99.9"),
        (0.9996, 1, "99.96"), (0.99999, 1, "99.999"), (1.0004, 1, "100.04"), (0.0004, 1, "0.04"), (0.004, 0, "0.4"),
        (0.996, 0, "99.6"), (-0.0004, 1, "-0.04"), (-0.25, 1, "-25.0"), (1.5, 0, "150"), (1e-12, 1, "0.0"),
        (1 - 1e-12, 1, "100.0"),
    ],
)  # fmt: skip
def test_in_percent(share: float, digits: int, text: str) -> None:
    assert in_percent(share, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (0.01, "0.01 s"), (0.44, "0.44 s"), (3.21, "3.2 s"), (9.99, "10 s"), (75.4, "75 s"),
     (119.7, "2 min 0 s"), (605.0, "10 min 5 s"), (3599.9, "60 min 0 s")],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (119.4, "119 s"), (121.0, "2 min"), (7_199.0, "2 h 0 min"), (9e4, "25 h 0 min")],
)  # fmt: skip
def test_about(seconds: float, text: str) -> None:
    assert about(seconds) == text
