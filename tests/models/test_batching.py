"""Batches of similar length, threads beside each other, and the next item made ahead."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from zskd.models.batching import ahead, each_in_a_thread, token_batches


@pytest.mark.parametrize("budget", [1, 64, 500, 10**6])
def test_batches_cover_every_index_once_within_the_budget(budget: int) -> None:
    rng = random.Random(budget)
    lengths = [rng.randint(1, 60) for _ in range(300)]
    batches = list(token_batches(lengths, budget))
    assert sorted({index for batch in batches for index in batch}) == list(range(300))
    assert sum(map(len, batches[:-1])) + len(set(batches[-1])) == 300
    shapes = {(max(lengths[i] for i in batch), len(batch)) for batch in batches}
    assert len(batches) == 1 or len(shapes) <= 60  # one for each length
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= budget
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    assert list(token_batches([], budget)) == []


def test_batches_without_padding_have_one_length() -> None:
    batches = list(token_batches([3, 9, 3, 7, 9, 3], 100, padded=False))
    assert [sorted(set(batch)) for batch in batches] == [[1, 4], [3], [0, 2, 5]]
    assert [len(batch) for batch in token_batches([4] * 5, 8, padded=False)] == [2, 2, 2]


def test_the_next_item_is_made_while_this_one_is_worked_on() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(4):
            made.append(i)
            yield i

    seen = []
    for item in ahead(items()):
        deadline = time.monotonic() + 10
        while len(made) < min(4, item + 2) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(made) == min(4, item + 2)
        seen.append(item)
    assert seen == [0, 1, 2, 3]


def test_what_goes_wrong_ahead_is_raised_here() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise KeyError("ahead")

    with pytest.raises(KeyError, match="ahead"):
        list(ahead(items()))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads PyTorch uses, for the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_batches_are_worked_on_side_by_side_in_their_order(threads: Callable[[int], None]) -> None:
    threads(2)
    together = threading.Barrier(2)  # breaks where one waits for the other to be done

    def work(item: int) -> tuple[int, int]:
        together.wait(timeout=10)
        return item, torch.get_num_threads()

    assert list(each_in_a_thread(work, iter(range(6)))) == [(item, 1) for item in range(6)]
    with ThreadPoolExecutor(1) as later:
        assert (torch.get_num_threads(), later.submit(torch.get_num_threads).result()) == (2, 2)


def test_what_goes_wrong_in_a_thread_is_raised_here(threads: Callable[[int], None]) -> None:
    def work(item: int) -> float:
        return 1 / (item - 2)

    for count in (1, 2):
        threads(count)
        with pytest.raises(ZeroDivisionError):
            list(each_in_a_thread(work, iter(range(6))))
