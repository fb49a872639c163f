"""Notes: means over rows and steps, logged from time to time, and not lost when a run is resumed."""

from __future__ import annotations

import numpy as np
import torch

from zskd.methods.notes import EVERY, Notes
from zskd.methods.step import Step


def step(number: int, total: int = 1_000) -> Step:
    return Step(number, total, 0, np.arange(2))


def test_means_are_over_all_rows_since_the_last_time() -> None:
    notes = Notes("mine")
    for number in range(EVERY):
        notes.add("value", torch.full((number % 3 + 1,), float(number)))
        found = notes.close(step(number))
        assert (found is None) == (number + 1 < EVERY)
    rows = [number for number in range(EVERY) for _ in range(number % 3 + 1)]
    assert found == {"mine/value": sum(rows) / len(rows)}
    assert notes.close(step(2 * EVERY - 1)) is None, "there is nothing new"


def test_a_resumed_run_goes_on_with_them_and_the_last_step_logs() -> None:
    whole, first, second = Notes("a"), Notes("a"), Notes("a")
    for number in range(4):
        for notes in (whole, first if number < 2 else second):
            notes.add("value", torch.tensor([number, 2.0 * number]))
            last = notes.close(step(number, total=4))
        if number == 1:
            second.load_state(first.state())
    assert last == {"a/value": 2.25}
