"""Batches of similar length for inference."""

from __future__ import annotations

from collections.abc import Iterator

BATCH_TOKENS = 4_096  # padded tokens per forward pass


def token_batches(lengths: list[int], budget: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Indices in batches of similar length whose padded size stays within `budget` tokens.

    Longest first, so that a batch that does not fit in memory shows at once.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
