"""From raw passages to clean sentences; what is dropped is named, so that it can be counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from zskd.text.scripts import letters, word_count
from zskd.text.sentences import MAX_WORDS, MIN_WORDS, split_sentences

MIN_LETTERS = 0.6  # share of letters among the characters that are not white space

# Increase it when the same passage would give other sentences; it is part of the corpus's cache key.
FORMAT = 3

# Why text is dropped.
HEADING, MARKUP, SHORT, LONG, NO_PROSE = "headings", "markup", "too short", "too long", "too few letters"

# WikiText writes "1 @,@ 000" for "1,000" and "<unk>" for rare words.
_WIKITEXT = ((re.compile(r" @([-,.])@ "), r"\1"), (re.compile(r"<unk>"), " "))
_HEADING = re.compile(r"^\s*(=+ ).*( =+)\s*$")
_SPACE = re.compile(r"\s+")


class Part(NamedTuple):
    """A part of a passage.

    Attributes:
        text: a sentence, or what was dropped.
        dropped: why, or None for a sentence that is kept.
        characters: of the part, without white space.
    """

    text: str
    dropped: str | None
    characters: int


def characters(text: str) -> int:
    """Number of characters of a text, without white space."""
    return len("".join(text.split()))


def why_dropped(sentence: str) -> str | None:
    """Why a sentence with single spaces is dropped, or None: its length in words, or too few letters."""
    spaces = sentence.count(" ")
    plain = sentence.isascii()  # spares most English sentences two look-ups
    words = spaces + 1 if plain else word_count(sentence)
    if words < MIN_WORDS:
        return SHORT
    if words > MAX_WORDS:
        return LONG
    found = sum(map(str.isalpha, sentence)) if plain else letters(sentence)
    return None if found >= MIN_LETTERS * (len(sentence) - spaces) else NO_PROSE


def is_prose(sentence: str) -> bool:
    """True for a sentence of ordinary length that consists mostly of letters."""
    return why_dropped(sentence) is None


def parts(passage: str) -> Iterator[Part]:
    """All of a raw passage but its white space: the sentences that are kept, and what is dropped.

    Example:
        >>> [(part.text, part.dropped) for part in parts("It rained all night. So what? 你好，世界很大。")]
        [('It rained all night.', None), ('So what?', 'too short'), ('你好，世界很大。', None)]
    """
    if _HEADING.match(passage):
        yield Part(passage.strip(), HEADING, characters(passage))
        return
    raw = passage
    for pattern, replacement in _WIKITEXT:
        passage = pattern.sub(replacement, passage)
    if len(passage) != len(raw) and (removed := characters(raw) - characters(passage)):
        yield Part("", MARKUP, removed)
    for sentence in split_sentences(_SPACE.sub(" ", passage).strip()):
        yield Part(sentence, why_dropped(sentence), len(sentence) - sentence.count(" "))


def sentences(passage: str) -> Iterator[str]:
    """Clean sentences of a raw passage; headings and fragments without prose are dropped."""
    for part in parts(passage):
        if part.dropped is None:
            yield part.text
