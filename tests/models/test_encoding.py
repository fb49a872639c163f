"""Texts are cut to an explicit length, and cutting early changes no result."""

from __future__ import annotations

import logging
import random

import pytest
from conftest import prose, word_tokenizer
from transformers import CanineTokenizer

from zskd.errors import InputError
from zskd.models.encoding import Cuts, encode_texts, tell_cut

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


WORD = "river"  # one token


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    ("texts", "cut"),
    [
        (([f"{WORD} " * n for n in (0, 1, 6, 7, 40)],), 2),
        (([f"{WORD} " * 6 + "\n  ", f"{WORD} " * 6 + "!", f"{WORD} " * 5 + "!"],), 1),
        (([f"{WORD} " * 3, f"{WORD} " * 3, f"{WORD} " * 4], [WORD, f"{WORD} " * 2, f"{WORD} " * 2]), 1),
        (([WORD, f"{WORD} " * 50, f"{WORD} " * 900], [f"{WORD} " * 9, f"{WORD} " * 50, f"{WORD} " * 900]), 3),
        (([""], [""]), 0),
    ],
)
def test_rows_are_counted_that_lose_a_token_and_no_others(texts: tuple[list[str], ...], cut: int, side: str) -> None:
    tokenizer = word_tokenizer(LINES)
    tokenizer.truncation_side = side
    assert encode_texts(tokenizer, texts, 8).cut == cut
    whole = tokenizer(*texts)["input_ids"]
    assert sum(len(ids) > 8 for ids in whole) == cut


def test_a_pair_that_is_all_spaces_after_its_first_word_is_counted() -> None:
    texts = ([WORD + " " * 10**6 + WORD], [WORD])
    assert len(encode_texts(TOKENIZER, texts, 16)["input_ids"][0]) < 16
    assert encode_texts(TOKENIZER, texts, 16).cut == 1


def test_tokenizers_in_python_are_counted_too() -> None:
    tokenizer = CanineTokenizer()  # a token is a letter
    assert not tokenizer.is_fast
    texts = ["a" * n for n in (0, 5, 6, 7, 40)]
    assert encode_texts(tokenizer, (texts,), 8).cut == 2
    assert encode_texts(tokenizer, (["a" * 40, "a", "aaa"], ["b" * 9, "b", "bb"]), 8).cut == 1


@pytest.mark.parametrize(("texts", "least"), [((["a"],), 3), ((["a"], ["b"]), 5)])
def test_a_length_without_room_for_text_is_refused(texts: tuple[list[str], ...], least: int) -> None:
    for length in range(-1, least):
        with pytest.raises(InputError, match=f"--max-length {length}: expected at least {least}"):
            encode_texts(TOKENIZER, texts, length)
    assert len(encode_texts(TOKENIZER, texts, least)["input_ids"][0]) == least


def test_counts_add_up_over_batches(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="zskd")
    cuts = Cuts(8, trained=5)
    for texts in ([WORD] * 3, [f"{WORD} " * 9, f"{WORD} " * 4]):
        cuts.add(encode_texts(TOKENIZER, (texts,), 8), len(texts))
    assert (cuts.rows, cuts.cut, cuts.beyond) == (5, 1, 2)
    for _ in range(2):
        cuts.tell_beyond("--model x")
    cuts.tell("scoring, dev", "rows")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2 and told[0].startswith("--model x was trained on inputs of up to 5 tokens")
    assert told[1] == "scoring, dev: 1 of 5 rows were longer than 8 tokens and were cut (--max-length)"


def test_nothing_is_said_where_nothing_was_cut_or_nobody_knows(caplog: pytest.LogCaptureFixture) -> None:
    cuts = Cuts(8)
    cuts.add(["texts of a callable"], 1)
    assert cuts.cut is None
    cuts.add(encode_texts(TOKENIZER, ([f"{WORD} " * 9],), 8), 1)
    cuts.tell("labelling")
    tell_cut("labelling", 0, 10, 8)
    assert cuts.cut is None and cuts.rows == 2 and not caplog.records


def test_what_no_tokenizer_reads_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """Texts of a caller's own, for `Teacher.logits` or a callback, come this way."""
    broken = encode_texts(TOKENIZER, (["the \ud83d river"], ["a\0b"]), 16)
    assert dict(broken) == dict(TOKENIZER(["the \ufffd river"], ["a\ufffdb"]))
    assert "2 such character(s) in 2 text(s)" in caplog.text
