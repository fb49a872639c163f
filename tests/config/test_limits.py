"""Limits of options: every value is held against its own field, and the message has the flag and the value."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import pytest

from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag, flag_of, limit_problems, within_limits
from zskd.config.option import option
from zskd.config.verbs import DiagnoseConfig, EvaluateConfig, FinetuneConfig, PredictConfig


@dataclass
class Options:
    """One field of each kind."""

    share: float = option(0.5, "share", low=0.0, high=1.0)
    batch_size: int = option(8, "size", low=1, high=100)
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


@pytest.mark.parametrize("cls", [DistillConfig, DiagnoseConfig, EvaluateConfig, FinetuneConfig, PredictConfig])
def test_every_number_has_both_limits(cls: type) -> None:
    bounded = {item.name for item in fields(cls) if "low" in item.metadata}
    rates = {name for name in bounded if name.endswith("learning_rate")}  # `zskd.config.cost.fast` warns of large ones
    assert {item.name for item in fields(cls) if "high" in item.metadata} == bounded - rates
    assert {item.name for item in fields(cls) if str(item.type).partition(" ")[0] in ("int", "float")} == bounded


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"kind": "x" * 300}, "--kind: expected names of at most 255 bytes, found one of 300: 'xxx"),
        ({"names": ["a", "b\0"]}, "--names: expected text without NUL, found 'b\\x00'"),
        ({"names": ["a", " "]}, "--names: expected a value, found an empty text; leave the option out"),
        ({"kind": ""}, "--kind: expected a value, found an empty text; leave the option out"),
        ({"batch_size": 10**5_000}, "--batch-size: expected at most 100, found a number of 16,610 bits"),
    ],
)
def test_a_text_that_names_nothing_is_one_problem(values: dict, problem: str) -> None:
    (found,) = limit_problems(More(**values))
    assert found.startswith(problem) and len(found) < 300


def test_a_list_of_labels_may_be_long() -> None:
    long = ",".join(f"LABEL_{i}=label{i}" for i in range(900))
    assert limit_problems(EvaluateConfig(label_map=long)) == []
    assert limit_problems(EvaluateConfig(label_map=long + "\0")) != []


def test_values_beyond_their_limits_become_defaults() -> None:
    options = More(share=2.0, batch_size=3, kind="c", rate=math.inf, names=["a\0"], extra=7)
    assert within_limits(options) == More(batch_size=3, extra=7)
    assert within_limits(More()) == More()


def test_the_flag_of_a_message() -> None:
    lines = ("--share: expected", "--share 2: expected", "RUN|TEACHER: expected")
    assert [flag_of(line) for line in lines] == ["--share", "--share", "RUN|TEACHER:"[:-1]]
