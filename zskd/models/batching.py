"""Batching for inference: batches of similar length, a thread per batch on a CPU, and preparing the next item ahead."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

# More would wait for Python's lock: between two operations of a model each thread needs it.
MOST_THREADS = 8

# Padded tokens per forward pass, by type of device. On a CPU, a layer's results for this many tokens of the embedded
# teacher fit in a core's cache; a GPU needs larger batches (docs/performance.md).
BATCH_TOKENS = {"cpu": 1_024, "cuda": 32_768}


def token_budget(device_type: str) -> int:
    """Padded tokens per forward pass on a type of device."""
    return BATCH_TOKENS.get(device_type, BATCH_TOKENS["cuda"])


def token_batches(lengths: list[int], budget: int, *, padded: bool = True) -> Iterator[list[int]]:
    """Group indices into batches of similar length whose padded size stays within `budget` tokens.

    The longest come first, so that a batch too large for memory fails at once. The last of several batches is filled up
    by repeating its own indices, so that all batches of a length have the same shape; the libraries keep compiled code
    for every shape as long as the process lives.

    Args:
        padded: False to group indices of one length only.
    """
    batch: list[int] = []
    several = False
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        unequal = not padded and batch and lengths[index] != lengths[batch[0]]
        if unequal or (batch and lengths[batch[0]] * (len(batch) + 1) > budget):
            yield batch
            batch, several = [], True
        batch.append(index)
    if several:
        full = max(1, budget // lengths[batch[0]])
        batch = [batch[i % len(batch)] for i in range(full)]
    if batch:
        yield batch


def each_in_a_thread(work: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[Result]:
    """Apply `work` to items in as many threads as PyTorch may use, one thread per item; results keep the items' order.

    Operations on a batch of sentences are too short to be split over threads, which would wait for each other after
    each one. `work` must set thread-local modes, such as inference mode and autocast, itself.
    """
    threads = torch.get_num_threads()
    each = math.ceil(threads / MOST_THREADS)
    several = threads // each
    if several == 1:
        yield from map(work, items)
        return
    try:
        with ThreadPoolExecutor(several, initializer=torch.set_num_threads, initargs=(each,)) as pool:
            yield from pool.map(work, items)
    finally:
        torch.set_num_threads(threads)  # threads that are started later inherit it too


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield items in order; a thread prepares the next one while the caller works on the current one.

    An exception in `items` is raised at its place in the sequence.
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
