"""Random streams: the numbers they give today, and that no two give the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from zskd.system import seeds
from zskd.system.seeds import Stream, generator, repetition, row_order, word

# The first numbers below 2^32 for the words 3, 5 and 7. Another number is another student for every seed.
FIRST = {
    "SHAPING": [166482770, 3448209426, 2234213205],
    "WRITER": [3394915065, 3628090366, 1034822039],
    "REPLAY": [1224839919, 1882201540, 3414805604],
    "SOURCES": [2852473660, 1197459865, 2699673198],
    "TURNS": [2852473660, 1197459865, 2699673198],
    "METHOD": [76797712, 2779589174, 38554656],
    "MODULES": [3268684586, 3943710409, 2481375443],
}
# Never in one run: the one has the rows of a Trainer that knows nothing of the other.
SAME = {("SOURCES", "TURNS")}


def numbers(rng: np.random.Generator, count: int = 3) -> list[int]:
    return rng.integers(2**32, size=count).tolist()


@pytest.mark.parametrize("name", Stream.__members__)
def test_todays_numbers_stay(name: str) -> None:
    assert numbers(generator(Stream[name], 3, 5, 7)) == FIRST[name]


def test_the_streams_without_a_number_keep_theirs() -> None:
    assert numbers(row_order(3, 5)) == [102879343, 587007851, 243327257]
    assert numbers(repetition(3)) == [3485385464, 367860371, 770692085]
    assert word("adversarial") == 3584182051


@pytest.mark.parametrize("words", [(), (0,), (0, 0, 0), (3, 5, 7), (2**32 - 1, 1, 2)])
def test_no_two_names_give_the_same_numbers(words: tuple[int, ...]) -> None:
    drawn = {name: numbers(generator(stream, *words)) for name, stream in Stream.__members__.items()}
    same = {pair for pair in itertools.combinations(sorted(drawn), 2) if drawn[pair[0]] == drawn[pair[1]]}
    assert same == SAME


def test_no_two_rows_steps_or_seeds_share_numbers() -> None:
    drawn = [
        tuple(numbers(generator(Stream.WRITER, seed, step, place)))
        for seed, step, place in itertools.product(range(3), range(5), range(8))
    ]
    assert len(set(drawn)) == len(drawn)


def test_rows_of_an_epoch_come_in_an_order_of_their_own() -> None:
    drawn = [tuple(numbers(row_order(seed, epoch))) for seed in range(10) for epoch in range(10)]
    assert len(set(drawn)) == 100
    # Known, and kept for the sake of today's numbers: it has no number of its own, so that the order of rows for a
    # seed that is a stream's number begins like that stream where all other words are 0.
    assert numbers(row_order(int(Stream.WRITER), 1)) == numbers(generator(Stream.WRITER, 1, 0, 0))
    assert numbers(row_order(int(Stream.WRITER), 1)) != numbers(generator(Stream.WRITER, 1, 0, 1))


def test_what_was_drawn_before_changes_nothing() -> None:
    np.random.seed(0)
    before = numbers(generator(Stream.METHOD, 1, 2))
    np.random.seed(1)
    numbers(generator(Stream.METHOD, 1, 2), count=50)
    assert numbers(generator(Stream.METHOD, 1, 2)) == before


def test_words_are_numbers_of_any_machine() -> None:
    assert len({word(text) for text in ("mine", "yours", "", "é")}) == 4
    assert all(0 <= word(text) < 2**32 for text in ("mine", "é"))
    assert seeds.word("mine") == word("mine")
