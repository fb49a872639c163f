"""Building pairs from out-of-domain text, in families.

A family says how the second text is made from the first: an edited copy, a part, a part that continues as another
sentence does, the next sentence, a sentence on the same topic, or any other sentence. A family does not decide the
label; the teacher does. The kind of each side (a sentence, a question, a passage) follows from the task's inputs, not
from its labels.

Only English questions begin as questions do, and only English texts are negated (`zskd.text.words`). In other languages
a question is a part of a text with the question mark of its script; families and their shares are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from datasets import Dataset

from zskd.system.arrow import ROWS
from zskd.text.language import ENGLISH_RULES, Rules
from zskd.text.words import (
    as_question,
    ask_about,
    corpus_words,
    is_content,
    perturb_words,
    question_starter,
    sub_span,
    turn_meaning,
)

# Family -> weight within its group. Families of the first group, and "mixed", change words and need --perturb random.
PERTURBED = {"edit": 18, "turn": 22, "part_edit": 10, "part_turn": 12}
STRUCTURAL = {"part": 8, "overlap": 10, "adjacent": 6, "related": 9, "unrelated": 5}
# Share of pairs from the first group (docs/measurements.md compares other shares). Without it, most pairs of two texts
# of the same kind would consist of equal words. A question differs from its passage in any case.
PERTURBED_SHARE = 0.62
QUESTION_PERTURBED_SHARE = 0.155  # the same for a question and a passage
# Share of the pairs of two plain texts that have some words in common and differ in others. Without them, pairs are
# either nearly equal or share almost no words. It was measured for plain texts only.
MIXED_SHARE = 0.13
MIXED_KEPT = (0.25, 0.9)  # share of the first text that is kept, drawn uniformly from this range
MIXED_RELATED = 0.6  # share of mixed pairs that take the other words from a sentence on the same topic, if there is one

SENTENCE_WORDS = (4, 24)  # a sentence of a pair is cut to a number of words drawn uniformly from this range
QUESTION_WORDS = (2, 10)
PART_WORDS = (3, 12)
PASSAGE_LIMITS = (8, 32)  # a sentence of a passage
PASSAGE_WORDS = 40  # following sentences are added to a passage up to this length
BASE_SHARE = 25 / 31  # texts perturbed before a pair is made of them, per pair of perturbed families
BASE_RATE = 0.4  # highest rate of that perturbation
EDIT_RATE = 0.5
SWAP_SHARE = 0.3  # how often two texts of the same kind are swapped

T = TypeVar("T")


def _related(sentences: list[list[str]], at: int, index: dict[str, list[int]]) -> int | None:
    """Another sentence of the block that shares a word with this one, as rare a word as possible."""
    shared = [(len(index[word]), word) for word in set(sentences[at]) if 1 < len(index.get(word, ())) <= 40]
    for _, word in sorted(shared):
        # A block is drawn with replacement, so it may contain the same sentence twice.
        if others := [i for i in index[word] if sentences[i] != sentences[at]]:
            return others[at % len(others)]
    return None


def _unrelated(sentences: list[list[str]], at: int, start: int) -> list[str]:
    """The first different sentence from `start` on; the same sentence if the block has no other."""
    own = sentences[at]
    return next((row for row in [*sentences[start:], *sentences[:start]] if row != own), own)


def word_limits(kinds: tuple[str, str]) -> tuple[int, int]:
    """Fewest and most words that are taken of a sentence for a pair of these kinds."""
    if kinds == ("question", "question"):
        return QUESTION_WORDS
    return PASSAGE_LIMITS if "passage" in kinds else SENTENCE_WORDS


def perturbed_share(kinds: tuple[str, ...]) -> float:
    """Share of pairs that ``--perturb random`` takes from families that change words, for the kinds of two texts."""
    return QUESTION_PERTURBED_SHARE if set(kinds) == {"question", "passage"} else PERTURBED_SHARE


def family_shares(kinds: tuple[str, ...], perturbed: float) -> dict[str, float]:
    """Share of each family for the kinds of two texts, if families that edit words have the share `perturbed`."""
    mixed = MIXED_SHARE if perturbed and kinds == ("text", "text") else 0.0
    shares = {"mixed": mixed} if mixed else {}
    for group, share in ((PERTURBED, perturbed), (STRUCTURAL, 1 - perturbed - mixed)):
        if share:
            shares |= {name: share * weight / sum(group.values()) for name, weight in group.items()}
    return shares


class PairShaper:
    """Turns blocks of sentences into pairs.

    Args:
        kinds: kind of each side: ``text``, ``question`` or ``passage``.
        perturbed: share of pairs whose words are changed; 0 for none.
        table: endless random words, for families that change words.
        rules: of the language.
    """

    def __init__(
        self,
        kinds: tuple[str, str],
        perturbed: float,
        table: Iterator[str],
        rng: np.random.Generator,
        rules: Rules = ENGLISH_RULES,
    ) -> None:
        self.kinds, self.table, self.rng, self.rules = kinds, table, rng, rules
        self.base_share = BASE_SHARE * perturbed
        shares = family_shares(kinds, perturbed)
        self.families, self.shares = list(shares), np.array(list(shares.values()))

    def block(self, sentences: list[str], following: list[str | None]) -> Iterator[tuple[str, str, str]]:
        """Pairs ``(text, text_b, family)``, one per sentence.

        Args:
            following: for each sentence, the next one of its document, or None.
        """
        units = self.rules.units
        words = [units(sentence) for sentence in sentences]
        index: dict[str, list[int]] = {}
        for i, row in enumerate(words):
            for word in {w for w in row if (len(w) > 4 if self.rules.english else is_content(w))}:
                index.setdefault(word, []).append(i)
        names = self.rng.choice(len(self.families), size=len(words), p=self.shares)
        for i, row in enumerate(words):
            family = self.families[names[i]]
            other: list[str] | None = None
            if family == "adjacent" and (text := following[i]):
                other = units(text)
            elif family == "related" or (family == "mixed" and self.rng.random() < MIXED_RELATED):
                found = _related(words, i, index)
                other = None if found is None else words[found]
            if family in ("adjacent", "related", "unrelated", "mixed") and other is None:
                if family != "mixed":
                    family = "unrelated"
                other = _unrelated(words, i, int(self.rng.integers(len(words))))
            # With context, the passage of an adjacent pair would contain the second text.
            context = [] if family == "adjacent" else units(following[i] or "")
            yield *self._pair(row, other, context, family), family

    def _changed(self, words: list[str], family: str) -> list[str]:
        if family.endswith("edit"):
            return perturb_words(words, self.table, self.rng, EDIT_RATE)
        return turn_meaning(words, self.table, self.rng, self.rules) if family.endswith("turn") else words

    def _base(self, words: list[str], limits: tuple[int, int]) -> list[str]:
        words = sub_span(words, self.rng, limits)
        if self.base_share and self.rng.random() < self.base_share:
            words = perturb_words(words, self.table, self.rng, BASE_RATE)
        return words

    def _passage(self, words: list[str], context: list[str]) -> str:
        if context and len(words) + len(context) <= PASSAGE_WORDS:
            return self.rules.join([*words, *context] if self.rng.random() < 0.5 else [*context, *words])
        return self.rules.join(words)

    def _pair(self, row: list[str], other: list[str] | None, context: list[str], family: str) -> tuple[str, str]:
        if set(self.kinds) == {"question", "passage"}:
            question, passage = self._question_and_passage(row, other, context, family)
            return (question, passage) if self.kinds[0] == "question" else (passage, question)
        if self.kinds == ("question", "question"):
            first, second = self._swapped(*self._texts(row, other, family, word_limits(self.kinds)))
            starter = question_starter(self.rng, self.rules)
            again = starter if self.rng.random() < 0.6 else question_starter(self.rng, self.rules)
            return as_question(first, starter, self.rules), as_question(second, again, self.rules)
        first, second = self._texts(row, other, family, word_limits(self.kinds))
        if self.kinds == ("passage", "passage"):
            return self._swapped(self._passage(first, context), self._passage(second, []))
        if self.kinds == ("text", "text"):
            return self._swapped(self.rules.join(first), self.rules.join(second))
        # The second text may be a part of the first, so the first becomes the side whose kind is longer.
        length = {"passage": 2, "text": 1, "question": 0}
        if length[self.kinds[0]] >= length[self.kinds[1]]:
            return self._dress(first, self.kinds[0], context), self._dress(second, self.kinds[1], [])
        return self._dress(second, self.kinds[0], []), self._dress(first, self.kinds[1], context)

    def _swapped(self, first: T, second: T) -> tuple[T, T]:
        return (second, first) if self.rng.random() < SWAP_SHARE else (first, second)

    def _dress(self, words: list[str], kind: str, context: list[str]) -> str:
        if kind == "question":
            return as_question(words[: QUESTION_WORDS[1]], question_starter(self.rng, self.rules), self.rules)
        return self._passage(words, context) if kind == "passage" else self.rules.join(words)

    def _texts(
        self, row: list[str], other: list[str] | None, family: str, limits: tuple[int, int]
    ) -> tuple[list[str], list[str]]:
        first = self._base(row, limits)
        if family == "mixed" and other is not None:
            return first, self._mixed(first, other)
        if other is not None:
            return first, self._base(other, limits if "passage" not in self.kinds else PART_WORDS)
        part = first
        if family == "overlap" and "passage" not in self.kinds:
            first, part = (sub_span(first, self.rng, (max(1, len(first) // 2), len(first))) for _ in range(2))
        elif family.startswith("part") or "passage" in self.kinds:
            shorter = max(1, len(first) - 1)
            part = sub_span(first, self.rng, (min(PART_WORDS[0], limits[0], shorter), min(PART_WORDS[1], shorter)))
        return first, self._changed(part, family)

    def _mixed(self, words: list[str], other: list[str]) -> list[str]:
        """A part of `words`, edited or not, filled up from `other` before or after it to about the same length."""
        kept = max(1, round(len(words) * self.rng.uniform(*MIXED_KEPT)))
        part = sub_span(words, self.rng, (kept, kept))
        if self.rng.random() < 0.5:
            part = perturb_words(part, self.table, self.rng, EDIT_RATE)
        more = sub_span(other, self.rng, (max(1, len(words) // 8), max(2, len(words) - kept + 2)))
        return [*part, *more] if self.rng.random() < 0.5 else [*more, *part]

    def _question_and_passage(
        self, row: list[str], other: list[str] | None, context: list[str], family: str
    ) -> tuple[str, str]:
        passage = self._base(row, PASSAGE_LIMITS)
        question, unanswered = ask_about(passage, self.rng, self.rules)
        if other is not None:
            return question, self._passage(sub_span(other, self.rng, PASSAGE_LIMITS), [])
        if family.startswith("part_"):
            # The sentence without the words that the question asks for.
            passage = unanswered
        return question, self._passage(self._changed(passage, family), context)


def with_following(corpus: Dataset, picked: np.ndarray) -> tuple[list[str], list[str | None]]:
    """The sentences of some rows, and for each the next one of its document, or None."""
    here, after = corpus[picked], corpus[np.minimum(picked + 1, len(corpus) - 1)]
    following = [
        text if document == same and text != own else None
        for own, document, text, same in zip(
            here["text"], here["document"], after["text"], after["document"], strict=True
        )
    ]
    return here["text"], following


def pair_texts(
    corpus: Dataset,
    rows: np.ndarray,
    size: int,
    kinds: tuple[str, str],
    perturbed: float,
    rng: np.random.Generator,
    rules: Rules = ENGLISH_RULES,
) -> Iterator[tuple[str, str, str]]:
    """`size` pairs ``(text, text_b, family)`` from the given rows of a corpus; `perturbed` as in `PairShaper`."""
    table: Iterator[str] = iter(())
    if perturbed:
        table = corpus_words(corpus, rows, rng, rules)
    shaper = PairShaper(kinds, perturbed, table, rng, rules)
    made = 0
    while made < size:
        picked = rng.choice(rows, size=min(size - made, ROWS))
        yield from shaper.block(*with_following(corpus, picked))
        made += len(picked)
