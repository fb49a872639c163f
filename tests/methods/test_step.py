"""A step: random numbers that belong to rows, and what is shared with the other processes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zskd.methods.step import Step
from zskd.system.seeds import Stream, generator

STEP = Step(number=7, total=20, seed=3, places=np.arange(8, 12), size=16, whole=16, micro=1, micros=2, processes=2)


def drawn(step: Step, place: int = 9, **options: object) -> int:
    return int(step.rng(place, **options).integers(2**62))  # type: ignore[arg-type]


def test_a_rows_random_numbers_depend_on_run_step_place_method_and_use_alone() -> None:
    step = replace(STEP, method="one")
    same = replace(step, places=np.arange(2), micro=0, micros=8, processes=1, size=4, total=99, progress=0.5)
    assert drawn(step) == drawn(step) == drawn(same) == drawn(step, np.int64(9))  # type: ignore[arg-type]
    others = [
        drawn(replace(step, seed=4)), drawn(replace(step, number=8)), drawn(step, 10), drawn(STEP),
        drawn(replace(step, method="two")), drawn(step, use="noise"), drawn(step, use="mask"),
        drawn(replace(step, method="one/noise")), drawn(step, stream=Stream.REPLAY),
        drawn(step, stream=Stream.REPLAY, use="noise"),
    ]  # fmt: skip
    assert len({drawn(step), *others}) == 1 + len(others)


def test_streams_with_a_name_are_those_of_the_table() -> None:
    wanted = generator(Stream.WRITER, 3, 7, 9).integers(2**62)
    assert drawn(STEP, stream=Stream.WRITER) == drawn(replace(STEP, method="any"), stream=Stream.WRITER) == wanted


def test_some_rows_of_a_step() -> None:
    part = STEP.at(np.array([0, 3]), whole=4, progress=0.25)
    assert part.places.tolist() == [8, 11] and (part.whole, part.size, part.progress) == (4, 16, 0.25)
    assert drawn(part, 11) == drawn(STEP, 11)


@pytest.mark.parametrize(("micros", "processes"), [(1, 1), (2, 2), (4, 1)])
def test_sums_over_rows_are_shares_of_the_mean_over_the_whole_batch(micros: int, processes: int) -> None:
    values = np.random.default_rng(0).normal(size=16)
    marked = np.arange(16) % 4 == 1
    parts = values.reshape(micros * processes, -1), marked.reshape(micros * processes, -1)
    step = Step(0, 1, 0, np.arange(16), size=16, whole=4, micros=micros, processes=processes)
    shares = [rows[chosen].sum() / step.divisor for rows, chosen in zip(*parts, strict=True)]
    assert np.mean(shares) == pytest.approx(values[marked].mean())
    assert replace(step, whole=0).divisor == 1 / (micros * processes), "no division by nothing"


def test_the_last_micro_batch_says_so() -> None:
    assert [replace(STEP, micro=i, micros=3).last for i in range(3)] == [False, False, True]


def test_alone_nothing_is_gathered_and_nothing_is_averaged() -> None:
    step, tensor = replace(STEP, processes=1), torch.ones(2, requires_grad=True)
    values = [1, "two"]
    assert step.gather(values) is values and step.mean(tensor) is tensor
    with step.autocast():
        assert not torch.is_autocast_enabled("cpu")


def test_a_mean_over_processes_has_the_gradient_of_the_own_part() -> None:
    reduced: list[torch.Tensor] = []

    def reduce(tensor: torch.Tensor, reduction: str) -> torch.Tensor:
        assert reduction == "mean" and not tensor.requires_grad
        reduced.append(tensor)
        return (tensor + torch.tensor([3.0, 5.0])) / 2  # the other process has these

    step = replace(STEP, accelerator=SimpleNamespace(reduce=reduce))  # type: ignore[arg-type]
    own = torch.tensor([1.0, 2.0], requires_grad=True)
    mean = step.mean(own)
    assert mean.tolist() == [2.0, 3.5] and len(reduced) == 1
    (mean**2).sum().backward()
    assert own.grad is not None and own.grad.tolist() == [4.0, 7.0] and own.tolist() == [1.0, 2.0]
