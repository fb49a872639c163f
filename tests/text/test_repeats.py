"""Rows that repeat an earlier one are found by value, whatever their hashes."""

from __future__ import annotations

import random

import pytest
from datasets import Dataset

from zskd.text import repeats
from zskd.text.repeats import distinct_rows


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("rows", [7, 4_096])  # rows that are looked at together
def test_rows_are_those_of_a_dictionary(columns: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "ROWS", rows)
    draw = random.Random(columns)
    pool = [tuple(draw.choice(["", "a", "b", "ab", "é", "0 "]) for _ in range(columns)) for _ in range(300)]
    pool += [(f"{i}",) * columns for i in range(100)]
    draw.shuffle(pool)
    first: dict[tuple[str, ...], int] = {}
    for row, texts in enumerate(pool):
        first.setdefault(texts, row)
    found = distinct_rows(Dataset.from_dict({f"{i}": [texts[i] for texts in pool] for i in range(columns)}))
    assert found is not None and found[0].tolist() == list(first.values())
    assert [pool[found[0][place]] for place in found[1]] == pool


def test_without_repeated_rows_there_is_nothing_to_tell() -> None:
    assert distinct_rows(Dataset.from_dict({"text": ["a", "b"], "text_b": ["b", "a"]})) is None
    assert distinct_rows(Dataset.from_dict({"text": []})) is None


def test_texts_of_equal_hash_are_not_taken_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "hash64", lambda text: 7)
    assert distinct_rows(Dataset.from_dict({"text": ["a", "b", "c"]})) is None
    found = distinct_rows(Dataset.from_dict({"text": ["a", "b", "a", "b"]}))
    assert found is not None and found[0].tolist() == [0, 1, 3] and found[1].tolist() == [0, 1, 0, 2]
