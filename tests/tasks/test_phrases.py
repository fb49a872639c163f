"""Phrases and their sentences stay on one side of a split, at a cost that is linear in the text."""

from __future__ import annotations

import logging
import random
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from zskd.system.seeds import Stream, generator
from zskd.tasks.labelled import Labelled
from zskd.tasks.phrases import sort_phrases, split_rows


def parts_of(text: str) -> set[str]:
    """Every contiguous part of a text in words, by definition."""
    words = text.split()
    return {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}


def reference(texts: list[str], selection_rows: int, seed: int) -> tuple[list[int], list[int]]:
    """(training, selection) rows by definition, in quadratic time."""
    order = generator(Stream.SPLIT, seed).permutation(len(texts)).tolist()
    texts = [" ".join(text.split()) for text in texts]
    phrases = {part for text in texts for part in parts_of(text) if part != text}
    held = [i for i in order if texts[i] not in phrases][: min(selection_rows, len(texts) // 5)]
    seen = {part for i in held for part in {texts[i], *parts_of(texts[i])}}
    return [i for i in order if texts[i] not in seen], held


def split(texts: list[str], selection_rows: int, seed: int = 0) -> tuple[list[int], list[int]]:
    train, selection = split_rows(Labelled((texts,), list(range(len(texts)))), selection_rows, None, seed)
    for part in (train, selection):
        assert part.texts[0] == [texts[i] for i in part.labels]
    return train.labels, selection.labels


def random_texts(draw: random.Random) -> list[str]:
    letters, longest = "abcd"[: draw.randint(1, 4)], draw.choice([2, 4, 9, 20])
    return ["  ".join(draw.choices(letters, k=draw.randint(0, longest))) for _ in range(draw.randint(1, 50))]


@pytest.mark.parametrize("seed", range(6))
def test_the_split_is_the_one_by_definition(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(100):
        texts = random_texts(draw)
        for count in (1, 4, 600):
            assert split(texts, count, seed) == reference(texts, count, seed), texts


SENTENCES = ["a fine film", "fine film", "film", "fine films", "a film", "fine", "so a fine film it is"]
ALIKE: dict[str, tuple[list[str], list[bool]]] = {
    "beginning, middle and end": (SENTENCES, [True, True, True, False, False, True, False]),
    "letters are no words": (["art", "start", "art s"], [True, False, False]),
    "nested prefixes": (["a", "a b", "a b c", "a b c d"], [True, True, True, False]),
    "one repeated word": (["a a", "a", "a a a a"], [True, True, False]),
    "no part across two texts": (["c a", "b c", "a b"], [False, False, False]),
    "an empty text": (["", "a"], [False, False]),
}


@pytest.mark.parametrize("texts, expected", ALIKE.values(), ids=ALIKE)
def test_parts_of_other_texts_are_found(texts: list[str], expected: list[bool]) -> None:
    phrases = sort_phrases(texts)
    assert phrases.inside(np.ones(len(texts), dtype=bool)).tolist() == expected
    none = np.zeros(len(texts), dtype=bool)
    assert not phrases.inside(none).any()


def test_only_the_texts_asked_about_count() -> None:
    phrases = sort_phrases(["b", "a b", "b c", "c"])
    assert phrases.inside(np.array([False, True, False, False])).tolist() == [True, False, False, False]
    assert phrases.inside(np.array([False, False, True, False])).tolist() == [True, False, False, True]


def test_an_empty_text_is_not_on_both_sides() -> None:
    texts = ["", *"abcdefghi"]
    for seed in range(10):
        train, held = split(texts, 2, seed)
        assert not set(train) & set(held)


def ordinary(rows: int, words: int) -> list[str]:
    return [" ".join(f"w{(i * 7919 + j * j) % 5_003}" for j in range(words)) for i in range(rows)]


COSTLY: dict[str, Callable[[int, int], list[str]]] = {
    "ordinary": ordinary,
    "all equal": lambda rows, words: ["the same row " * (words // 3)] * rows,
    "one word repeated": lambda rows, words: [" ".join(["a"] * (i * words // rows + 1)) for i in range(rows)],
    "nested": lambda rows, words: [" ".join(map(str, range(i * words // rows + 1))) for i in range(rows)],
    "different ends": lambda rows, words: [" ".join(["a"] * (words - 1) + [str(i)]) for i in range(rows)],
}  # fmt: skip


def peak(texts: list[str]) -> int:
    """Bytes that the split takes at most."""
    tracemalloc.start()
    try:
        split(texts, 20)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", COSTLY.values(), ids=COSTLY)
def test_memory_is_linear_in_the_text(make: Callable[[int, int], list[str]]) -> None:
    """Every part of every text is 500 KB for a text of 400 words."""
    texts = make(200, 400)
    assert peak(texts) < 150 * sum(len(text.split()) for text in texts) + 200_000
    longer = make(50, 1_600)
    assert peak(longer) < 150 * sum(len(text.split()) for text in longer) + 200_000


def test_rows_that_are_neither_trained_on_nor_kept_aside_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "zskd"):
        split(["a b"] * 5 + ["a"] * 5, 2)
        assert caplog.messages == [
            "rows: 8 of 10 are equal to one of the 2 selection rows or part of one, and are not trained on"
        ]
        caplog.clear()
        split([f"text{i}" for i in range(10)], 2)
    assert caplog.messages == []


def test_pairs_are_split_at_random() -> None:
    rows = Labelled((list("abcdefghij"), list("aaaaaaaaaa")), list(range(10)))
    train, selection = split_rows(rows, 600, None, 0)
    assert len(selection.labels) == 2 and sorted(train.labels + selection.labels) == list(range(10))
    assert split_rows(rows, 600, 3, 0)[0].labels == train.labels[:3]
