"""English or not."""

from __future__ import annotations

import inspect
import logging
import random
from itertools import islice

import pytest
from conftest import prose
from datasets import Dataset
from languages import PHRASES, TEXTS

from zskd.text import language as module
from zskd.text.embedded import embedded_documents
from zskd.text.language import (
    ENGLISH_RULES,
    OTHER_RULES,
    guess_language,
    is_english,
    resolve_language,
    rules_for,
    sample,
)
from zskd.text.sentences import split_sentences

HEADLINES = [
    "council to vote on plan for the new bridge",
    "police search for man missing in the ranges",
    "rain delays start of final day at the oval",
    "farmers warn of shortage after record dry spell",
    "minister defends cuts to funding of hospitals",
    "shares fall with banks under pressure from inquiry",
    "union calls off strike at the port of melbourne",
]
DUTCH = [  # as near to English as any language with a large readership
    "De kat was in de tuin en had het warm, of was het de hond?",
    "Wat is er in april in de stad te doen, met of zonder kinderen?",
    "Hij had een hand over de wand en was in de war.",
    "We waren in de winter bij de dam en het water was warm.",
]
CODE = [
    "for item in values: if item is not None: result.append(item)",
    "return self.model.forward(batch, mask) or default",
    "import os from pathlib import Path as P",
    "var x = document.getElementById(name); x.value = null;",
]


@pytest.mark.parametrize("language", [*TEXTS, *PHRASES])
def test_other_languages_are_not_english(language: str) -> None:
    assert guess_language({**TEXTS, **PHRASES}[language]).language == "other"


@pytest.mark.parametrize("sentences", [DUTCH, CODE, ["river", "Bank", "over"], ["12 34", "..."], []])
def test_what_is_not_surely_english_is_not(sentences: list[str]) -> None:
    assert guess_language(sentences).language == "other"


@pytest.mark.parametrize(
    "sentences",
    [
        prose(50),
        [line.upper() for line in prose(50)],
        HEADLINES,
        ["It's what they said about the café in Zürich, and it was not true.", "Was that from her?"],
        [*prose(40), *TEXTS["Chinese"][:1], *TEXTS["French"][:1]],  # quotations
    ],
    ids=["prose", "capitals", "headlines", "accents", "quotations"],
)
def test_english_is_english(sentences: list[str]) -> None:
    assert guess_language(sentences).language == "en"


def test_the_embedded_text_is_english() -> None:
    texts = [sentence for document in islice(embedded_documents(), 300) for sentence in split_sentences(document)]
    assert guess_language(texts).language == "en"
    assert guess_language(split_sentences(inspect.getdoc(module) or "")).language == "en"


def test_half_english_is_not_english() -> None:
    for other in ("German", "French", "Dutch", "Russian"):
        assert guess_language([*prose(len(TEXTS[other])), *TEXTS[other] * 2]).language == "other", other


def test_the_order_decides_nothing() -> None:
    sentences = [*prose(30), *TEXTS["German"]]
    shuffled = random.Random(0).sample(sentences, len(sentences))
    assert guess_language(sentences) == guess_language(shuffled)


def test_the_sample_is_spread_and_fixed() -> None:
    assert sample(3) == [0, 1, 2] and sample(0) == []
    rows = sample(10_000)
    assert rows[:2] == [0, 5] and rows[-1] == 9_995 and len(rows) == module.SAMPLE


@pytest.mark.parametrize(
    ("asked", "texts", "expected", "said"),
    [
        ("auto", prose(30), "en", "language: English (guessed: "),
        ("auto", TEXTS["German"], "other", "say --language en if it is"),
        ("en", TEXTS["German"], "en", "language: en"),
        ("other", prose(30), "other", "shaped without English rules"),
        ("pt-BR", prose(30), "pt-BR", "pt-BR, shaped without English rules"),
    ],
)
def test_what_was_asked_for_wins_and_is_said(
    asked: str, texts: list[str], expected: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="zskd"):
        assert resolve_language(asked, Dataset.from_dict({"text": texts})) == expected
    assert said in caplog.text


def test_codes_of_english() -> None:
    assert all(map(is_english, ("en", "EN", "en-GB", "en_US")))
    assert not any(map(is_english, ("de", "other", "enm", "es-EN")))
    assert rules_for("en-AU") is ENGLISH_RULES and rules_for("de") is rules_for("other") is OTHER_RULES


def test_english_is_split_at_white_space_alone() -> None:
    """Also where it quotes Chinese, so that pools of English text stay as they were."""
    text = "They call it 北京 at home."
    assert ENGLISH_RULES.units(text) == text.split() and ENGLISH_RULES.join(text.split()) == text
