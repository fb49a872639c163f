"""The replay buffer: rows the generator wrote earlier, with the teacher's logits, first in, first out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from zskd.transfer.collator import ID_COLUMNS

DRAWS = 8  # rows drawn to find one of about the wanted length

Row = dict[str, Any]


class ReplayBuffer:
    """Holds at most ``capacity`` rows; the oldest are dropped first.

    A row has ``input_ids`` ``(tokens,)`` int32, for pairs ``token_type_ids``, ``teacher_logits`` ``(num_labels,)``
    float32 in the task's order, and ``step``, the optimizer step in which it was written.
    """

    def __init__(self, capacity: int) -> None:
        self.rows: deque[Row] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows in order."""
        self.rows.extend(rows)

    def draw(self, length: int, rng: np.random.Generator) -> Row:
        """Draw `DRAWS` rows and return the one nearest to `length` (tokens), to save padding."""
        drawn = [self.rows[int(i)] for i in rng.integers(len(self.rows), size=DRAWS)]
        return min(drawn, key=lambda row: abs(len(row["input_ids"]) - length))

    def state(self) -> dict[str, torch.Tensor]:
        """All rows as tensors, for a checkpoint file."""
        if not self.rows:
            return {}
        names = [name for name in ID_COLUMNS if name in self.rows[0]]
        tensors: dict[str, torch.Tensor] = {
            name: torch.from_numpy(np.concatenate([row[name] for row in self.rows])) for name in names
        }
        tensors["length"] = torch.tensor([len(row["input_ids"]) for row in self.rows])
        tensors["teacher_logits"] = torch.from_numpy(np.stack([row["teacher_logits"] for row in self.rows]))
        tensors["step"] = torch.tensor([row["step"] for row in self.rows])
        return tensors

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        self.rows.clear()
        if not state:
            return
        ends = state["length"].cumsum(0).tolist()
        names = [name for name in ID_COLUMNS if name in state]
        start = 0
        for i, end in enumerate(ends):
            row: Row = {name: state[name][start:end].numpy().copy() for name in names}
            row["teacher_logits"] = state["teacher_logits"][i].numpy().copy()
            row["step"] = int(state["step"][i])
            self.rows.append(row)
            start = end
