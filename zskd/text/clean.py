"""From raw passages to clean sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

MIN_WORDS, MAX_WORDS = 3, 80
MIN_LETTERS = 0.6  # share of letters among the characters that are not white space

# Increase it when the same passage would give other sentences; it is part of the corpus's cache key.
FORMAT = 2

_BREAK = re.compile(r"[.!?]['\")\]]*\s+(?=[\"'(\[]*[A-Z0-9])")
_NO_BREAK = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Gen|Col|Lt|Sgt|Capt|Rev|No|vs|etc|e\.g|i\.e|cf|al|fig|approx)|\b[A-Z])\s?\.$"
)
# WikiText writes "1 @,@ 000" for "1,000" and "<unk>" for rare words.
_WIKITEXT = ((re.compile(r" @([-,.])@ "), r"\1"), (re.compile(r"<unk>"), " "))
_HEADING = re.compile(r"^\s*(=+ ).*( =+)\s*$")
_SPACE = re.compile(r"\s+")


def split_sentences(passage: str) -> Iterator[str]:
    """Split a passage at end marks that a capital letter or digit follows, except after known abbreviations."""
    start = 0
    for match in _BREAK.finditer(passage):
        head = passage[start : match.end()].strip()
        if _NO_BREAK.search(head):
            continue
        yield head
        start = match.end()
    if tail := passage[start:].strip():
        yield tail


def is_prose(sentence: str) -> bool:
    """True for a sentence of ordinary length that consists mostly of letters."""
    words = sentence.count(" ") + 1
    if not MIN_WORDS <= words <= MAX_WORDS:
        return False
    letters = sum(map(str.isalpha, sentence))
    return letters >= MIN_LETTERS * (len(sentence) - words + 1)


def sentences(passage: str) -> Iterator[str]:
    """Clean sentences of a raw passage; headings and fragments without prose are dropped."""
    if _HEADING.match(passage):
        return
    for pattern, replacement in _WIKITEXT:
        passage = pattern.sub(replacement, passage)
    passage = _SPACE.sub(" ", passage).strip()
    for sentence in split_sentences(passage):
        if is_prose(sentence):
            yield sentence
