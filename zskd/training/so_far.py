"""What a training has added up so far, kept in its checkpoints, so that a resumed one ends with the sums of the whole.

Trainer counts from the step that it resumed at: its ``train_loss`` was the mean of the remaining steps alone, and the
first ``loss`` after resuming left out the steps between the last log entry and the checkpoint.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from zskd.system.files import write_text

FILE = "so_far.json"


@dataclass(frozen=True)
class SoFar:
    """Sums of a training when a checkpoint was written.

    Attributes:
        losses: sum of the logged steps' losses, the mean over processes.
        pending: per process, the sum of the losses since the last log entry.
        logged: step of the last log entry.
        seconds: wall-clock time that led to this checkpoint, that of earlier calls included. What a killed call did
            after its last checkpoint is not in it.
    """

    losses: float
    pending: list[float]
    logged: int
    seconds: float

    def own_pending(self, process: int, processes: int) -> float:
        """Of one process; the mean where the checkpoint was written by another number of them."""
        return self.pending[process] if len(self.pending) == processes else statistics.fmean(self.pending)


def write_so_far(folder: Path, so_far: SoFar) -> None:
    """Write `FILE` into a checkpoint's folder."""
    write_text(folder / FILE, json.dumps(asdict(so_far)) + "\n")


def read_so_far(folder: Path) -> SoFar | None:
    """What `write_so_far` wrote; None in a checkpoint of an older zskd, which has none."""
    path = folder / FILE
    return SoFar(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
