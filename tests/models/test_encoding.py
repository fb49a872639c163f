"""Texts are cut to an explicit length, and cutting early changes no result."""

from __future__ import annotations

import random

import pytest
from conftest import prose, word_tokenizer

from zskd.models.encoding import encode_texts

LINES = prose(200)
TOKENIZER = word_tokenizer(LINES)


def text(words: int, seed: int) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(rng.choice(LINES).split()) for _ in range(words))


@pytest.mark.parametrize("sizes", [(3, 4), (30, 2), (2, 30), (40, 40), (24, 23), (90, 60), (1, 0), (5_000, 3)])
def test_pairs_come_out_as_the_tokenizer_alone_would_cut_them(sizes: tuple[int, int]) -> None:
    pairs = ([text(sizes[0], 1)], [text(sizes[1], 2)])
    plain = TOKENIZER(*pairs, truncation=True, max_length=24)
    assert dict(encode_texts(TOKENIZER, pairs, 24)) == dict(plain)
    assert len(plain["input_ids"][0]) <= 24


def test_two_very_long_texts_are_cut_to_halves() -> None:
    pairs = ([text(2_000, 3)], [text(3_000, 4)])
    ids = encode_texts(TOKENIZER, pairs, 25)["input_ids"][0]
    plain = [TOKENIZER(column, add_special_tokens=False)["input_ids"][0] for column in pairs]
    assert ids[1:12] == plain[0][:11] and ids[-12:-1] == plain[1][:11]
    assert len(ids) == 25
    assert len(encode_texts(TOKENIZER, ([text(9, 5)], ["x" * 10**7]), 24)["input_ids"][0]) <= 24


def test_one_text_is_cut() -> None:
    assert len(encode_texts(TOKENIZER, (["the river " * 100],), 16)["input_ids"][0]) == 16


def test_what_no_tokenizer_reads_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """Texts of a caller's own, for `Teacher.logits` or a callback, come this way."""
    broken = encode_texts(TOKENIZER, (["the \ud83d river"], ["a\0b"]), 16)
    assert dict(broken) == dict(TOKENIZER(["the \ufffd river"], ["a\ufffdb"]))
    assert "2 such character(s) in 2 text(s)" in caplog.text
