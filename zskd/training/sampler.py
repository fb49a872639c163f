"""The order of rows in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from zskd.system.seeds import Stream, generator

EpochRows = Callable[[int, int], np.ndarray | None]


class LengthGroupedSampler(Sampler[int]):
    """Samples rows so that each batch of `batch_size` consecutive rows has similar lengths.

    The order depends on seed and epoch only, so a resumed run sees the same rows as an uninterrupted one. (Trainer's
    own grouped sampler draws from the global generator.)

    Args:
        lengths: ``(rows,)``, tokens of each row.
        batch_size: rows per batch, over all processes.
        rows: function of the epoch's number and size that returns the indices of its rows. If it is None or returns
            None, every row is used once.
    """

    GROUP = 64  # number of batches that are sorted together

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int, rows: EpochRows | None = None) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.rows = rows
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's data loader before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = generator(Stream.ROWS, self.seed, self.epoch)
        order = rng.permutation(len(self.lengths))
        if self.rows is not None and (chosen := self.rows(self.epoch, len(order))) is not None:
            order = chosen[order]
        size = self.GROUP * self.batch_size
        groups = (order[start : start + size] for start in range(0, len(order), size))
        order = np.concatenate([group[np.argsort(self.lengths[group], kind="stable")] for group in groups])
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        # A short batch in the middle would shift all later ones, so it stays last.
        last = [batches.pop()] if len(batches[-1]) < self.batch_size else []
        for index in rng.permutation(len(batches)):
            yield from batches[index].tolist()
        for batch in last:
            yield from batch.tolist()
