"""Batches of similar length for inference, several at a time on a CPU, and the next item while one is worked on."""

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

# Padded tokens per forward pass, by type of device. What a layer of the embedded teacher computes for so many stays in
# a core's cache; a GPU wants to be filled (docs/performance.md).
BATCH_TOKENS = {"cpu": 1_024, "cuda": 32_768}


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


def each_in_a_thread(work: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[Result]:
    """The results in the order of the items, made by as many threads as PyTorch may use, each computing by itself.

    Operations on a batch of sentences are too short to be shared: the threads would wait for each other after each.
    Whatever is set for a thread alone, such as inference mode and autocast, `work` sets itself.
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
        torch.set_num_threads(threads)  # what threads started later begin with, too


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
