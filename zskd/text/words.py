"""Changing text word by word: sub-spans, random perturbation, small edits that change a meaning, and questions.

All functions depend on the words and a NumPy generator only, not on a task or a label. Words are the units of
`zskd.text.scripts.units`; what is English by nature is left out under the rules of other languages.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterator

import numpy as np
from datasets import Dataset

from zskd.text.language import ENGLISH_RULES, Rules
from zskd.text.scripts import core, has_unspaced, is_word, letters, question_mark

SPAN_WORDS = (2, 24)  # number of words in a sub-span, drawn uniformly from this range
MAX_RATE = 0.6  # the share of perturbed words is drawn uniformly between 0 and this value
WORD_POWER = 0.5  # inserted words are drawn in proportion to their count to this power
SAMPLED_ROWS = 100_000  # largest number of sentences whose words are counted
OPERATIONS = ("replace", "insert", "drop", "swap")
OPERATION_SHARES = (0.55, 0.15, 0.15, 0.15)
DRAWS = 16  # random words tried to find a different one
CONTENT_LETTERS = 5  # words with at least this many letters are taken for content words

# Words that "not" can follow, and pairs of opposite words.
_AUXILIARIES = {
    "is", "are", "was", "were", "be", "been", "has", "have", "had", "can", "could", "will", "would", "should", "must",
    "may", "might", "do", "does", "did",
}  # fmt: skip
_OPPOSITES = dict(
    pair
    for left, right in (
        ("always", "never"), ("all", "no"), ("every", "no"), ("more", "less"), ("most", "few"), ("many", "few"),
        ("before", "after"), ("first", "last"), ("large", "small"), ("high", "low"), ("up", "down"), ("in", "out"),
        ("new", "old"), ("good", "bad"), ("best", "worst"), ("increase", "decrease"), ("north", "south"),
        ("east", "west"), ("early", "late"), ("with", "without"), ("above", "below"), ("some", "no"), ("long", "short"),
        ("to", "from"), ("he", "she"), ("his", "her"), ("man", "woman"), ("and", "or"), ("only", "also"),
        ("began", "ended"), ("won", "lost"), ("born", "died"), ("includes", "excludes"), ("near", "far"),
    )
    for pair in ((left, right), (right, left))
)  # fmt: skip
_STARTERS = (
    "what is", "what are", "what is the best", "how do I", "how can I", "how does", "how to", "why is", "why do",
    "where can I find", "who is", "which is", "is it true that", "can", "does", "should I", "when did", "what does",
)  # fmt: skip


def opposite_words() -> set[tuple[str, str]]:
    """Pairs of English words with opposite meanings, in both orders."""
    return set(_OPPOSITES.items()) | {(right, left) for left, right in _OPPOSITES.items()}


def word_table(texts: Iterator[str], rules: Rules = ENGLISH_RULES) -> tuple[list[str], np.ndarray]:
    """Distinct words of the texts and the probability ``(words,)`` of drawing each."""
    found = (_drawn(word, rules) for text in texts for word in rules.units(text))
    counts = Counter(word for word in found if word and word[0].isalpha())
    words = sorted(counts)
    weights = np.array([counts[word] for word in words], dtype=np.float64) ** WORD_POWER
    return words, weights / weights.sum()


def _drawn(word: str, rules: Rules) -> str:
    """A word as it is drawn: a few characters of a script without spaces come without a full stop or a space."""
    if rules.english:
        return word
    return core(word) if has_unspaced(word) else word.strip()


def random_words(words: list[str], weights: np.ndarray, rng: np.random.Generator) -> Iterator[str]:
    """Endless words, drawn in proportion to `weights`."""
    while True:
        for index in rng.choice(len(words), size=4_096, p=weights):
            yield words[index]


def corpus_words(
    corpus: Dataset, rows: np.ndarray, rng: np.random.Generator, rules: Rules = ENGLISH_RULES
) -> Iterator[str]:
    """Endless random words of a corpus, from at most `SAMPLED_ROWS` of the given rows."""
    sampled = np.sort(rng.choice(rows, size=min(len(rows), SAMPLED_ROWS), replace=False))
    return random_words(*word_table(iter(corpus[sampled]["text"]), rules), rng)


def sub_span(words: list[str], rng: np.random.Generator, limits: tuple[int, int] = SPAN_WORDS) -> list[str]:
    """A contiguous part of a sentence; its length is drawn uniformly from `limits` (words, both included)."""
    length = min(int(rng.integers(limits[0], limits[1] + 1)), len(words))
    start = int(rng.integers(0, len(words) - length + 1))
    return words[start : start + length]


def perturb_words(
    words: list[str], table: Iterator[str], rng: np.random.Generator, max_rate: float = MAX_RATE
) -> list[str]:
    """Replace, insert, drop and swap words at random; the share of changed words is random too.

    Args:
        table: endless random words.
    """
    rate = rng.uniform(0.0, max_rate)
    draws = rng.random(len(words))
    operations = rng.choice(len(OPERATIONS), size=len(words), p=OPERATION_SHARES)
    result: list[str] = []
    for word, draw, operation in zip(words, draws, operations, strict=True):
        name = OPERATIONS[operation] if draw < rate else "keep"
        if name == "replace":
            result.append(next(table))
        elif name == "insert":
            result += [word, next(table)]
        elif name == "swap" and result:
            result.insert(len(result) - 1, word)
        elif name != "drop":
            result.append(word)
    return result or [words[0]]


def _plain(word: str) -> str:
    return word.strip(".,;:!?\"'()[]").lower()


def is_content(word: str) -> bool:
    """Whether a word of another language than English is taken for a content word: by its length, in its script.

    A Korean syllable is two or three letters. A few characters of a script without spaces are about a word each.
    """
    plain = core(word)
    if not is_word(plain):
        return False
    return len(plain) > 1 if has_unspaced(plain) else letters(unicodedata.normalize("NFD", plain)) >= CONTENT_LETTERS


def _possible_edits(words: list[str], rules: Rules) -> dict[str, list[int]]:
    """Kind of edit -> places where it is possible in a sentence."""
    edits: dict[str, list[int]] = {}
    for i, word in enumerate(words):
        plain = _plain(word) if rules.english else core(word)
        if rules.english and plain in ("not", "never", "no"):
            edits.setdefault("remove", []).append(i)
        elif rules.english and plain in _AUXILIARIES:
            edits.setdefault("negate", []).append(i)
        elif any(map(str.isdecimal, plain)):
            edits.setdefault("number", []).append(i)
        elif i and word[:1].isupper() and len(plain) > 1:
            edits.setdefault("name", []).append(i)
        if rules.english and plain in _OPPOSITES:
            edits.setdefault("opposite", []).append(i)
        if len(plain) >= CONTENT_LETTERS and plain.isalpha() if rules.english else is_content(word):
            edits.setdefault("content", []).append(i)
    if len(words) >= 6:
        edits["reorder"] = list(range(2, len(words) - 2))
    return edits


def turn_meaning(
    words: list[str], table: Iterator[str], rng: np.random.Generator, rules: Rules = ENGLISH_RULES
) -> list[str]:
    """Make one small edit that usually changes what a sentence says.

    The edit concerns a negation or an opposite (English only), a number, a name (where the script has capitals), the
    order, or one content word. If none of these is possible, one word is replaced.
    """
    edits = _possible_edits(words, rules) or {"replace": list(range(len(words)))}
    kind = sorted(edits)[int(rng.integers(len(edits)))]
    places = edits[kind]
    at = places[int(rng.integers(len(places)))]
    result = list(words)
    if kind == "reorder":
        result = words[at:] + words[:at]
    elif kind == "remove":
        del result[at]
    elif kind == "negate":
        result.insert(at + 1, "not")
    elif kind == "opposite":
        result[at] = _OPPOSITES[_plain(words[at])]
    elif kind == "number":
        result[at] = "".join(_another_digit(c, rng, rules) if c.isdecimal() else c for c in words[at])
    elif kind == "name" and (others := [words[i] for i in places if words[i] != words[at]]):
        result[at] = others[int(rng.integers(len(others)))]
    else:
        result[at] = _another_word(words[at], table, rules)
    # Reordering repeated words may change nothing, and removing a lone "never" leaves no words.
    return result if result and result != words else [_another_word(words[0], table, rules), *words[1:]]


def _another_digit(digit: str, rng: np.random.Generator, rules: Rules) -> str:
    zero = ord("0") if rules.english else ord(digit) - unicodedata.decimal(digit)  # in the digits of its script
    others = [other for other in map(chr, range(zero + 1, zero + 10)) if other != digit]
    return others[int(rng.integers(len(others)))]


def _another_word(word: str, table: Iterator[str], rules: Rules) -> str:
    """The next random word that differs from `word`; `word` itself if none of `DRAWS` words does."""
    same = word if rules.english else core(word)  # "。" is no other word
    return next((drawn for drawn in itertools.islice(table, DRAWS) if drawn not in (word, same)), word)


def _lowered(words: list[str]) -> list[str]:
    first = words[0]
    return [first[:1].lower() + first[1:] if first[1:].islower() else first, *words[1:]]


def as_question(words: list[str], starter: str, rules: Rules = ENGLISH_RULES) -> str:
    """Make a question of some words: a starter in front, a question mark at the end.

    Without English rules there is no starter, and the mark is that of the words' script.
    """
    if not rules.english:
        body = rules.join(words)
        kept = core(body)
        return (body[: body.rindex(kept) + len(kept)] if kept else body) + question_mark(body)
    body = " ".join(_lowered(words)).rstrip(".,;:!?\"' ")
    return f"{starter[:1].upper()}{starter[1:]} {body}?"


def question_starter(rng: np.random.Generator, rules: Rules = ENGLISH_RULES) -> str:
    """Draw the beginning of a question; empty without English rules."""
    return _STARTERS[int(rng.integers(len(_STARTERS)))] if rules.english else ""


def ask_about(words: list[str], rng: np.random.Generator, rules: Rules = ENGLISH_RULES) -> tuple[str, list[str]]:
    """Make a question that a sentence answers: it asks for some of the sentence's words.

    Returns:
        The question, and the sentence without the words that it asks for.
    """
    size = min(int(rng.integers(1, 5)), max(1, len(words) - 2))
    start = int(rng.integers(0, len(words) - size + 1))
    answer, rest = words[start : start + size], words[:start] + words[start + size :]
    about = sub_span(rest or words, rng, (3, 12))
    if not rules.english:
        return as_question(about, "", rules), rest or words
    text = " ".join(answer)
    choices: tuple[str, ...] = ("what", "how", "why", "which", "what kind of")
    if any(_plain(word).isdigit() and len(_plain(word)) == 4 for word in answer):
        choices = ("when", "in what year")
    elif any(map(str.isdigit, text)):
        choices = ("how many", "how much")
    elif start and any(word[:1].isupper() for word in answer):
        choices = ("who", "where", "what", "which")
    return as_question(about, choices[int(rng.integers(len(choices)))]), rest or words
