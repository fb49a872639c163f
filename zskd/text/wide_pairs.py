"""Pairs that share few content words and still mean nearly the same, beside those of `zskd.text.pairs`.

Families of ``--pairs wide``: a copy, a turned copy and a part with neighbouring words, and nearest sentences of the
corpus in two bands of similarity. They are made from the corpus and a sentence encoder, never from a task. Their texts
are not perturbed beforehand, so that they stay English.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from datasets import Dataset

from zskd.models.sentence_encoder import SentenceEncoder
from zskd.system.arrow import ROWS
from zskd.text import nearest, synonyms
from zskd.text.language import ENGLISH_RULES
from zskd.text.nearest import BANDS, cached_nearest
from zskd.text.pairs import PART_WORDS, PairShaper, pair_texts, with_following, word_limits
from zskd.text.synonyms import cached_neighbours, overlap_of, replace_words, words_in_use
from zskd.text.words import SAMPLED_ROWS, corpus_words, sub_span, turn_meaning

# Increase it when the same corpus, encoder and seed would give other pairs.
FORMAT = 1

# Share of each new family of all pairs; the families of `zskd.text.pairs` share the rest.
SYNONYMS = {"synonym": 0.16, "turn_synonym": 0.07, "part_synonym": 0.08}
NEAREST = {"near": 0.07, "nearest": 0.07}
USES = 2  # how often a pair of nearest sentences is used at most
# A pair with neighbouring words is to have at most a content-word overlap that is drawn uniformly from this range, so
# that they spread over it. Of so many sentences the first such is taken, else that with the lowest overlap.
OVERLAPS = (0.0, 0.7)
TRIES = 8
LEAST_SHARE = 0.4  # of the most words that a text may have: as few has a text whose words are replaced


@dataclass(frozen=True)
class Neighbours:
    """What the new families are made from.

    Attributes:
        words: word -> words that may replace it.
        sentences: family -> pairs ``(pairs, 2)`` of rows of the corpus.
    """

    words: dict[str, list[str]]
    sentences: dict[str, np.ndarray]


def wide_identity(encoder: SentenceEncoder) -> tuple[object, ...]:
    """What the new families depend on beside the corpus, for the keys of pools."""
    formats = (FORMAT, nearest.FORMAT, nearest.MOST_SENTENCES, synonyms.FORMAT)
    return ("wide", *formats, encoder.fingerprint, encoder.precision)


@dataclass(frozen=True)
class WideSource:
    """Finds what the new families are made from.

    Attributes:
        sentences: of the corpus, column ``text``.
        fingerprint: of the corpus.
        encoder: which tells what is near.
        cache: folder in which is kept what was found.
    """

    sentences: Dataset
    fingerprint: str
    encoder: SentenceEncoder
    cache: Path

    @cached_property
    def words(self) -> dict[str, list[str]]:
        """Word -> words of the corpus that may replace it; at most `SAMPLED_ROWS` sentences are looked at."""
        size = len(self.sentences)
        sampled = np.linspace(0, size, min(size, SAMPLED_ROWS), endpoint=False, dtype=np.int64)
        return words_in_use(cached_neighbours(self.encoder, self.cache), self.sentences[sampled]["text"])

    def neighbours(self, rows: np.ndarray, kinds: tuple[str, str]) -> Neighbours:
        """Neighbouring words, and nearest sentences among the given rows for texts of some kinds (`cached_nearest`)."""
        words = word_limits(kinds)[1]
        found = cached_nearest(self.sentences, self.fingerprint, rows, words, self.encoder, self.cache)
        return Neighbours(self.words, found)


def wide_shares(size: int, perturbed: float, neighbours: Neighbours) -> dict[str, float]:
    """Share of each new family of `size` pairs. What no words or sentences are found for is left to the others.

    Args:
        perturbed: as in `PairShaper`; families that change words need it.
    """
    shares = dict(SYNONYMS) if perturbed and neighbours.words else {}
    for name, share in NEAREST.items():
        if possible := USES * len(neighbours.sentences[name]):
            shares[name] = min(share, possible / size)
    return shares


class _Unchanged(Exception):
    """A text has no word with neighbours, or the copy is as before."""


class WideShaper(PairShaper):
    """Makes pairs of the new families.

    Args:
        kinds: as in `PairShaper`.
        words: word -> words that may replace it.
        table: endless random words, for turned copies.
    """

    def __init__(
        self, kinds: tuple[str, str], words: dict[str, list[str]], table: Iterator[str], rng: np.random.Generator
    ) -> None:
        super().__init__(kinds, 0.0, table, rng, ENGLISH_RULES)
        self.words = words

    def changed_pair(
        self, sentences: list[str], following: list[str | None], at: int, family: str
    ) -> tuple[str, str, str]:
        """A pair ``(text, text_b, family)`` of one of `SYNONYMS`, from sentence `at` of a block or another of it.

        If no sentence that is tried has a word with neighbours, it is a pair of ``turn`` or ``part_turn`` instead.
        """
        wanted, best, found = self.rng.uniform(*OVERLAPS), 2.0, None
        for _ in range(TRIES):
            try:
                made = self._pair(sentences[at].split(), None, (following[at] or "").split(), family)
            except _Unchanged:
                made = None
            if made is not None and (overlap := overlap_of(*made)) < best:
                best, found = overlap, made
            if best <= wanted:
                break
            at = int(self.rng.integers(len(sentences)))
        if found is not None:
            return *found, family
        family = "part_turn" if family.startswith("part") else "turn"
        return *self._pair(sentences[at].split(), None, (following[at] or "").split(), family), family

    def near_pair(self, sentence: str, other: str, context: str | None, family: str) -> tuple[str, str]:
        """A pair of one of `NEAREST` from two sentences.

        Args:
            context: the sentence after the first.
        """
        return self._pair(sentence.split(), other.split(), (context or "").split(), family)

    def _changed(self, words: list[str], family: str) -> list[str]:
        if family not in SYNONYMS:
            return super()._changed(words, family)
        turned = turn_meaning(words, self.table, self.rng) if family == "turn_synonym" else words
        made = replace_words(turned, self.words, self.rng)
        if made is None or made == words:
            raise _Unchanged
        return made

    def _texts(
        self, row: list[str], other: list[str] | None, family: str, limits: tuple[int, int]
    ) -> tuple[list[str], list[str]]:
        if other is not None:  # as much of both as a text may have, so that they stay as similar as they are
            return row[: limits[1]], other[: limits[1]]
        first = sub_span(row, self.rng, (max(limits[0], round(LEAST_SHARE * limits[1])), limits[1]))
        part = first
        if family.startswith("part") or "passage" in self.kinds:
            shorter = max(1, len(first) - 1)
            part = sub_span(first, self.rng, (min(PART_WORDS[0], limits[0], shorter), min(PART_WORDS[1], shorter)))
        return first, self._changed(part, family)


def wide_pair_texts(
    corpus: Dataset,
    rows: np.ndarray,
    size: int,
    kinds: tuple[str, str],
    perturbed: float,
    rng: np.random.Generator,
    neighbours: Neighbours,
) -> Iterator[tuple[str, str, str]]:
    """`size` pairs ``(text, text_b, family)`` of the families of `pair_texts` and of the new ones, mixed."""
    shares = wide_shares(size, perturbed, neighbours)
    plain_rng, wide_rng = rng.spawn(2)
    is_new = rng.random(size) < sum(shares.values())
    plain = pair_texts(corpus, rows, size - int(is_new.sum()), kinds, perturbed, plain_rng)
    new = _new_pairs(corpus, rows, int(is_new.sum()), kinds, wide_rng, neighbours, shares)
    for one in is_new:
        yield next(new) if one else next(plain)


def _new_pairs(
    corpus: Dataset,
    rows: np.ndarray,
    size: int,
    kinds: tuple[str, str],
    rng: np.random.Generator,
    neighbours: Neighbours,
    shares: dict[str, float],
) -> Iterator[tuple[str, str, str]]:
    table = corpus_words(corpus, rows, rng) if set(shares) & set(SYNONYMS) else iter(())
    shaper = WideShaper(kinds, neighbours.words, table, rng)
    weights = np.array(list(shares.values()))
    families = rng.choice(list(shares), size=size, p=weights / weights.sum())
    mined = {name: _drawn(neighbours.sentences[name], int((families == name).sum()), rng) for name in BANDS}
    for start in range(0, size, ROWS):
        names = families[start : start + ROWS]
        picked = rng.choice(rows, size=len(names))
        others = picked.copy()
        for name, pairs in mined.items():
            places = np.flatnonzero(names == name)
            picked[places], others[places] = pairs[: len(places)].T
            mined[name] = pairs[len(places) :]
        sentences, following = with_following(corpus, picked)
        other_texts = corpus[others]["text"]
        for at, name in enumerate(names.tolist()):
            if name in BANDS:
                yield *shaper.near_pair(sentences[at], other_texts[at], following[at], name), name
            else:
                yield shaper.changed_pair(sentences, following, at, name)


def _drawn(pairs: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` pairs in random order; each is used before one is used again, then with its sides exchanged."""
    rounds = range(-(-count // max(1, len(pairs))))
    orders = [pairs[rng.permutation(len(pairs))][:, :: -1 if number % 2 else 1] for number in rounds]
    return np.concatenate([pairs[:0], *orders])[:count]
