"""What a method wants to be logged: values of rows, whose mean is logged from time to time."""

from __future__ import annotations

import torch

from zskd.methods.step import Step

EVERY = 50  # steps


class Notes:
    """Means of values that belong to rows, over all processes and the steps since the last time they were logged.

    Args:
        name: of the method; what is logged is called ``name/...``.

    Example:
        >>> import numpy as np
        >>> notes = Notes("mine")
        >>> notes.add("moved", torch.tensor([1.0, 2.0]))
        >>> notes.close(Step(number=9, total=10, seed=0, places=np.arange(2)))
        {'mine/moved': 1.5}
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._step: dict[str, list[float]] = {}
        self._sums: dict[str, list[float]] = {}  # name -> [sum, count]

    def add(self, name: str, values: torch.Tensor) -> None:
        """Values ``(rows,)`` of the micro-batch, or a scalar."""
        self._step.setdefault(name, []).extend(values.detach().reshape(-1).tolist())

    def close(self, step: Step) -> dict[str, float] | None:
        """At the end of a step: the means, every `EVERY` steps and in the last one; else None."""
        for part in step.gather([self._step]):
            for name, values in part.items():
                held = self._sums.setdefault(name, [0.0, 0.0])
                held[0] += sum(values)
                held[1] += len(values)
        self._step = {}
        if (step.number + 1) % EVERY and step.number + 1 != step.total:
            return None
        found = {f"{self.name}/{name}": total / count for name, (total, count) in self._sums.items() if count}
        self._sums = {}
        return found or None

    def state(self) -> dict[str, list[float]]:
        """What has not been logged yet."""
        return self._sums

    def load_state(self, state: dict[str, list[float]]) -> None:
        """Take over what `state` gave."""
        self._sums = state
