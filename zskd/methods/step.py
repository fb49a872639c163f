"""`Step`, which tells the hooks of a method where the rows of a micro-batch stand in a run."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from zskd.config.methods.shares import rows_of
from zskd.system.processes import gather
from zskd.system.seeds import Stream, generator
from zskd.teacher.live import LiveTeacher


@dataclass(frozen=True)
class Step:
    """A micro-batch of an optimizer step; everything random about its rows is a function of it.

    Attributes:
        number: optimizer step, from 0.
        total: optimizer steps of the run.
        seed: the run's.
        places: ``(batch,)`` int, places of the rows in the step's whole batch, over micro-batches and processes.
        size: rows of the whole batch when it is full; the last of an epoch may have fewer.
        whole: rows of the whole batch that are meant; `size`, but for the result of `at`.
        micro: number of this micro-batch within the step, from 0.
        micros: micro-batches of this step in every process.
        processes: that share the batch.
        training: False where the student is evaluated; a method then has no part but `Method.logits`.
        progress: how much of what a method has planned is over, 0 to 1.
        method: whose hook is called; it has random numbers of its own.
        taken: rows of a full batch that the methods before this one change (`Method.row_share`).
        student: not wrapped, in training mode while training; None where a method works without one.
        teacher: the live teacher, where the trainer was given one with weights.
        accelerator: of the trainer; None outside of one.

    Example:
        What is drawn for a row depends on where it stands in the whole batch, not on how that is split:

        >>> whole = Step(number=7, total=100, seed=0, places=np.arange(4))
        >>> second = Step(number=7, total=100, seed=0, places=np.array([2, 3]), micro=1, micros=2)
        >>> bool(whole.rng(whole.places[2]).random() == second.rng(second.places[0]).random()), second.last
        (True, True)
    """

    number: int
    total: int
    seed: int
    places: np.ndarray
    size: int = 0
    whole: int = 0
    micro: int = 0
    micros: int = 1
    processes: int = 1
    training: bool = True
    progress: float = 0.0
    method: str = ""
    taken: int = 0
    student: PreTrainedModel | None = field(default=None, repr=False)
    teacher: LiveTeacher | None = field(default=None, repr=False)
    accelerator: Accelerator | None = field(default=None, repr=False)

    @property
    def last(self) -> bool:
        """Whether this is the last micro-batch of its step."""
        return self.micro + 1 == self.micros

    @property
    def divisor(self) -> float:
        """A sum over the rows here, divided by this, is the micro-batch's share of the mean over all micro-batches."""
        return max(1, self.whole) / (self.micros * self.processes)

    def at(self, rows: np.ndarray, whole: int, progress: float = 0.0) -> Step:
        """The same step for some of its rows.

        Args:
            rows: their indices in this micro-batch.
            whole: how many such rows the whole batch has.
        """
        return replace(self, places=self.places[rows], whole=whole, progress=progress)

    def rows(self, share: float) -> np.ndarray:
        """Which rows of this micro-batch, as indices, belong to the share of the whole batch that this method changes.

        They are drawn anew in each step, and no other method changes them. `zskd.config.methods.shares.rows_of` says
        how many rows of a full batch these are; a batch that is not full may have fewer.

        Example:
            >>> step = Step(number=7, total=100, seed=0, places=np.arange(16), size=16)
            >>> one, other = step.rows(0.25), replace(step, taken=4).rows(0.25)
            >>> len(one), len(other), bool(np.isin(one, other).any())
            (4, 4, False)
        """
        count, first = rows_of(share, self.size), self.taken
        order = generator(Stream.CHANGED, self.seed, self.number).permutation(self.size)
        return np.flatnonzero(np.isin(self.places, order[first : first + count]))

    def rng(self, place: int, stream: Stream = Stream.METHOD, use: str = "") -> np.random.Generator:
        """The random generator of a row: of this run, step, place and, in the stream `Stream.METHOD`, method.

        Every call gives it from its beginning. A method that draws in several hooks gives each a `use`, or it draws the
        same numbers twice.

        Args:
            place: in the whole batch (one of `places`).
            use: what the numbers are for, where a method has several uses.
        """
        name = f"{self.method}/{use}" if stream == Stream.METHOD else use
        return generator(stream, self.seed, self.number, int(place), *([name] if name else []))

    def gather(self, values: list[Any]) -> list[Any]:
        """The values of all processes, one list after the other."""
        return [value for part in gather(values) for value in part] if self.processes > 1 else values

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """The mean of a tensor over processes. Its gradient is that of this process's own part."""
        if self.processes == 1 or self.accelerator is None:
            return tensor
        return tensor + (self.accelerator.reduce(tensor.detach().clone(), "mean") - tensor.detach())

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """What the student computes in."""
        return contextlib.nullcontext() if self.accelerator is None else self.accelerator.autocast()
