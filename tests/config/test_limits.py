"""Limits of options: every value is held against its own field, and the message has the flag and the value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from zskd.config.limits import flag, limit_problems
from zskd.config.option import option


@dataclass
class Options:
    """One field of each kind."""

    share: float = option(0.5, "share", low=0.0, high=1.0)
    batch_size: int = option(8, "size", low=1)
    kind: str = option("a", "kind", choices=("a", "b"))
    rate: float | None = option(None, "rate", low=0.0)
    names: list[str] = option([], "names")  # noqa: RUF009
    on: bool = option(False, "on")


@dataclass
class More(Options):
    """A field beside them."""

    extra: int = option(0, "extra", low=0)


@pytest.mark.parametrize(
    "values",
    [{}, {"share": 0.0}, {"share": 1.0}, {"batch_size": 1}, {"kind": "b"}, {"rate": 0.0}, {"names": ["x"], "on": True}],
)
def test_a_limit_itself_is_allowed(values: dict) -> None:
    assert limit_problems(Options(**values)) == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"share": 1.01}, "--share: expected at most 1.0, found 1.01"),
        ({"batch_size": 0}, "--batch-size: expected at least 1, found 0"),
        ({"kind": "c"}, "--kind: expected one of a, b, found 'c'"),
        ({"rate": -1.0}, "--rate: expected at least 0.0, found -1.0"),
        ({"share": math.nan}, "--share: expected a finite number, found nan"),
        ({"rate": math.inf}, "--rate: expected a finite number, found inf"),
    ],
)
def test_beyond_it_is_a_problem_with_flag_and_value(values: dict, problem: str) -> None:
    assert limit_problems(Options(**values)) == [problem]


def test_all_problems_come_together_and_under_the_name_that_is_asked_for() -> None:
    wrong = More(share=2.0, batch_size=0, extra=-1)
    assert [line.partition(":")[0] for line in limit_problems(wrong)] == ["--share", "--batch-size", "--extra"]
    assert [line.partition(":")[0] for line in limit_problems(wrong, of=Options, shown=str)] == ["share", "batch_size"]
    assert flag("batch_size") == "--batch-size"
