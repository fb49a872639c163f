"""Batches of similar length for inference, and the next item while this one is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

# Padded tokens per forward pass, by type of device. What a layer of the embedded teacher computes for so many stays in
# a core's cache; a GPU wants to be filled (docs/performance.md).
BATCH_TOKENS = {"cpu": 1_536, "cuda": 32_768}


def token_budget(device_type: str) -> int:
    """Padded tokens per forward pass on a type of device."""
    return BATCH_TOKENS.get(device_type, BATCH_TOKENS["cuda"])


def token_batches(lengths: list[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of similar length whose padded size stays within `budget` tokens.

    Longest first, so that a batch that does not fit in memory shows at once. The last of several batches is filled up
    with its own indices over again: every batch of one length then has one shape, and the libraries below keep
    compiled code for every shape they meet, for as long as the process lives.
    """
    batch: list[int] = []
    several = False
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            yield batch
            batch, several = [], True
        batch.append(index)
    if several:
        full = max(1, budget // lengths[batch[0]])
        batch = [batch[i % len(batch)] for i in range(full)]
    if batch:
        yield batch


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items in their order; the next one is made in a thread while the caller is busy with this one.

    An exception in `items` is raised here, in its place.
    """

    def following() -> tuple[Item] | None:
        for item in items:
            return (item,)
        return None

    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(following)
        while (found := coming.result()) is not None:
            coming = thread.submit(following)
            yield found[0]
