"""Sentences whose every word tells where it comes from."""

from __future__ import annotations

import functools
import random
import re

DOCUMENTS, SENTENCES, TOPICS = 300, 4, 60
LETTERS = "abcdefghij"
TRACED = re.compile(r"z([a-j]{3})([a-j])([a-j]{2})\b", re.IGNORECASE)

# A word of the corpus below as (document, sentence in it, place in that).
Origin = tuple[int, int, int]


@functools.cache
def number(letters: str) -> int:
    return int("".join(str(LETTERS.index(letter)) for letter in letters.lower()))


def spell(value: int, digits: int) -> str:
    return "".join(LETTERS[int(digit)] for digit in str(value).zfill(digits))


@functools.lru_cache(maxsize=100_000)
def origins(text: str) -> list[Origin]:
    """Where the words of a text come from, in order; starters of questions and the topic word come from nowhere."""
    return [(number(a), number(b), number(c)) for a, b, c in TRACED.findall(text)]


def sides(text: str) -> set[tuple[int, int]]:
    """Documents and sentences that a text has words of."""
    return {(document, sentence) for document, sentence, _ in origins(text)}


def sentence(document: int, place: int, rng: random.Random) -> str:
    """A sentence in which every word but the first can be traced; the first is shared within a topic."""
    bases = [rng.choice(("oak", "pine", "rowan", "birch")) for _ in range(rng.randint(9, 36))]
    traced = [f"{base}z{spell(document, 3)}{spell(place, 1)}{spell(i, 2)}" for i, base in enumerate(bases)]
    return " ".join([f"Topic{spell(document % TOPICS, 2)}", *traced]) + "."
