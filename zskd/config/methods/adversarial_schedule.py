"""The adversary's schedule in optimizer steps: when the generator learns, and which rows of a batch it writes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np

_EPSILON = 1e-9  # 0.1 + 0.2 should still make three of ten


class Origin(IntEnum):
    """Where a row of a batch comes from."""

    TRANSFER = 0
    FRESH = 1
    REPLAYED = 2


@dataclass(frozen=True)
class Schedule:
    """Adversarial training in rounds: the generator learns in the first steps of a round, the student in every step.

    Attributes:
        start: first optimizer step (from 0) with adversarial rows.
        generator_steps: steps of a round in which the generator learns, once per step.
        student_steps: steps of a round.
        fresh: share of a batch's rows that the generator has just written.
        replayed: share of a batch's rows that it wrote earlier.
    """

    start: int
    generator_steps: int
    student_steps: int
    fresh: float
    replayed: float

    def active(self, step: int) -> bool:
        """True where a step's batch has adversarial rows."""
        return step >= self.start

    def learns(self, step: int) -> bool:
        """True where the generator learns in this step."""
        return self.active(step) and (step - self.start) % self.student_steps < self.generator_steps

    def opens_round(self, step: int) -> bool:
        """True for the first step of a round."""
        return self.active(step) and (step - self.start) % self.student_steps == 0

    def closes_round(self, step: int) -> bool:
        """True for the last step of a round."""
        return self.active(step) and (step - self.start) % self.student_steps == self.student_steps - 1

    def origins(self, first: int, count: int) -> np.ndarray:
        """The `Origin` of rows ``first`` to ``first + count`` of a step's whole batch, ``(count,)`` int.

        It depends only on a row's place in the whole batch, so that accumulation and processes change nothing. Both
        shares are spread evenly over the batch.
        """
        place = np.arange(first, first + count)
        share = self.fresh + self.replayed
        number = np.floor(place * share + _EPSILON)  # adversarial rows before this one
        adversarial = np.floor((place + 1) * share + _EPSILON) > number
        part = self.fresh / share if share else 0.0
        fresh = np.floor((number + 1) * part + _EPSILON) > np.floor(number * part + _EPSILON)
        return np.where(adversarial, np.where(fresh, Origin.FRESH, Origin.REPLAYED), Origin.TRANSFER)

    def queries(self, steps: int, batch_size: int, per_row: int = 1) -> int:
        """Number of texts that the live teacher answers in a run of `steps` steps.

        A fresh row costs one query, whether or not the generator learns from it, or ``per_row`` queries if the teacher
        judges candidates. The first step of a round costs one more, for the divergence after the generator's step.

        Args:
            batch_size: rows per optimizer step, over all processes and accumulation steps.
        """
        fresh = int((self.origins(0, batch_size) == Origin.FRESH).sum()) * per_row
        active = max(0, steps - self.start)
        rounds = -(-active // self.student_steps) if self.generator_steps else 0
        return fresh * (active + rounds)


class ScheduleOptions(Protocol):
    """The options that a schedule is made from."""

    adversarial_start: float
    generator_steps: int
    student_steps: int
    fresh_share: float
    replay_share: float


def make_schedule(options: ScheduleOptions, steps: int) -> Schedule:
    """The schedule of a run of `steps` optimizer steps."""
    start = math.ceil(options.adversarial_start * steps)
    return Schedule(start, options.generator_steps, options.student_steps, options.fresh_share, options.replay_share)
