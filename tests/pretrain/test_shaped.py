"""Inputs of a pretraining: kinds and shares, as many as the tokens need, segments where there are any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import prose, word_tokenizer

from zskd.config.pretraining import INPUTS, PretrainConfig
from zskd.pretrain.shaped import encode_inputs, kinds_of, make_inputs
from zskd.text.corpus import Corpus, build_corpus
from zskd.text.language import ENGLISH
from zskd.text.sources import find_sources

CONFIG = PretrainConfig(heldout=32, batch_size=16, max_length=64, tokens=4_000)


@pytest.fixture
def corpus(corpus_file: Path, shared_cache: Path) -> Corpus:
    return build_corpus(find_sources([str(corpus_file)]), 1.0, shared_cache)


def test_shares_of_all_kinds_make_one() -> None:
    for inputs in INPUTS:
        shares = kinds_of(inputs)
        assert sum(shares.values()) == pytest.approx(1)
        assert {len(kind) for kind in shares} == {"one": {1}, "two": {2}, "both": {1, 2}}[inputs]
    assert sum(share for kind, share in kinds_of("both").items() if len(kind) == 1) == 0.5


@pytest.mark.parametrize("inputs", INPUTS)
def test_tokens_decide_the_steps(inputs: str, corpus: Corpus, shared_cache: Path, tmp_path: Path) -> None:
    tokenizer = word_tokenizer(prose(600))
    config = replace(CONFIG, inputs=inputs)
    made = make_inputs(config, corpus, ENGLISH, tokenizer, shared_cache)
    rows = encode_inputs(made, tokenizer, config.max_length, tmp_path)
    read = made.steps * config.batch_size * sum(rows.train["length"]) / len(rows.train)
    assert 0.8 * config.tokens < read < 1.2 * config.tokens
    assert len(rows.train) == pytest.approx(made.steps * config.batch_size, rel=0.05)
    assert 0.7 * config.heldout < len(rows.heldout) < 1.2 * config.heldout
    assert all(length == len(ids) for length, ids in zip(rows.train["length"], rows.train["input_ids"], strict=True))


def test_a_short_text_is_read_several_times(corpus: Corpus, shared_cache: Path) -> None:
    config = replace(CONFIG, inputs="one", steps=10_000)
    made = make_inputs(config, corpus, ENGLISH, word_tokenizer(prose(600)), shared_cache)
    assert made.steps == 10_000 and len(made.pools[0].transfer) == 40 * corpus.count


def test_inputs_follow_seed_and_text(corpus: Corpus, shared_cache: Path) -> None:
    tokenizer = word_tokenizer(prose(600))
    found = {
        make_inputs(replace(CONFIG, **change), corpus, ENGLISH, tokenizer, shared_cache).fingerprint
        for change in ({}, {"seed": 1}, {"inputs": "two"}, {"steps": 3}, {"batch_size": 16})
    }
    assert len(found) == 4


def test_single_texts_have_segments_of_zeros_beside_pairs(corpus: Corpus, shared_cache: Path, tmp_path: Path) -> None:
    tokenizer = word_tokenizer(prose(600))
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    made = make_inputs(CONFIG, corpus, ENGLISH, tokenizer, shared_cache)
    rows = encode_inputs(made, tokenizer, CONFIG.max_length, tmp_path).train
    kinds = [any(segments) for segments in rows["token_type_ids"]]
    assert kinds.count(False) == len(made.pools[0].transfer), "pairs alone have a second segment"
    assert all(len(a) == len(b) for a, b in zip(rows["input_ids"], rows["token_type_ids"], strict=True))
