"""Whether a text is English, and what that decides.

Only one question is asked, since only English has rules of its own here (`zskd.text.words`): opposites, negation,
beginnings of questions. Every other language is shaped without them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zskd.text.scripts import join, units

if TYPE_CHECKING:  # checks of options load no data sets
    from datasets import Dataset

AUTO, ENGLISH, OTHER = "auto", "en", "other"
logger = logging.getLogger(__name__)

SAMPLE = 2_000  # sentences that a guess looks at, at most


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Commonest words of English: first those that a text of some length cannot do without, then others that are rare in
# other languages in Latin letters, then those that are common there too ("in", "was" and "an" are German, "a" Spanish).
_FIRST = _words("the of to")
_OWN = _words(
    "the and that with from this which are have they their would were been his it you not will but who has its she "
    "what when there after against about into out up than can could"
)
_SHARED = _words("of to a in is was for on as by at he be an or had her we i all one no my me")
# Commonest words of other languages in Latin letters that are rare in English.
_FOREIGN = _words(
    "de der und das nicht ist eine den dem la le les et des est une dans que el los las una por il che di della het "
    "een en van och att det som og ikke się nie jest não uma em ve bir dan yang và của și este ja että hogy az egy"
)
# Shares of the words, from measurements of English prose, of headlines, and of other languages (docs/measurements.md).
LEAST_FIRST, LEAST_OWN, LEAST_ALL, MOST_FOREIGN = 0.02, 0.01, 0.08, 0.25
LEAST_ASCII = 0.9  # of the letters
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Guess:
    """Whether a text is taken for English, and why.

    Attributes:
        language: ``en`` or ``other``.
        why: in a few words.
    """

    language: str
    why: str


@dataclass(frozen=True)
class Rules:
    """How the texts of a language are taken apart and changed.

    Attributes:
        english: whether rules of English apply.
        units: function from a text to its units (words; see `zskd.text.scripts.units`).
        join: the way back.
    """

    english: bool
    units: Callable[[str], list[str]]
    join: Callable[[list[str]], str]


# English is split at white space even where it quotes another script, so that its pools stay as they are.
ENGLISH_RULES = Rules(True, str.split, " ".join)
OTHER_RULES = Rules(False, units, join)


def is_english(language: str) -> bool:
    """Whether a language code means English; ``en-GB`` and ``EN`` do.

    Example:
        >>> is_english("en-GB"), is_english("de")
        (True, False)
    """
    return re.split(r"[-_]", language.lower())[0] == ENGLISH


def rules_for(language: str) -> Rules:
    """The rules of a language code (not ``auto``)."""
    return ENGLISH_RULES if is_english(language) else OTHER_RULES


def language_problems(pairs: str, language: str) -> list[str]:
    """Problems of ``--pairs`` with the language of the text; none are known of ``auto``."""
    if pairs == "plain" or language == AUTO or is_english(language):
        return []
    return [
        f"--pairs {pairs}: expected English text, whose neighbouring words the encoder knows, found --language "
        f"{language}; use --pairs plain, or --language en if the text is English"
    ]


def guess_language(sentences: Iterable[str]) -> Guess:
    """English or not, by the letters and by the share of the commonest English words; unsure means not.

    The same sentences give the same answer in any order.

    Example:
        >>> guess_language(["The river rose in the night and nobody saw it."]).language
        'en'
        >>> guess_language(["Der Fluss stieg in der Nacht, und niemand sah es."]).language
        'other'
    """
    words = letters = plain = 0
    counts = [0, 0, 0, 0]
    for sentence in sentences:
        for word in _WORD.findall(sentence.lower()):
            words += 1
            letters += len(word)
            plain += len(word) if word.isascii() else sum(map(str.isascii, word))
            for place, known in enumerate((_FIRST, _OWN, _SHARED, _FOREIGN)):
                counts[place] += word in known
    if not words:
        return Guess(OTHER, "no words")
    if plain < LEAST_ASCII * letters:
        return Guess(OTHER, f"{_percent(plain, letters)} of the letters are A to Z")
    first, own, shared, foreign = counts
    found = f"{_percent(own + shared, words)} of the words are among the commonest of English"
    enough = first >= LEAST_FIRST * words and own >= LEAST_OWN * words and own + shared >= LEAST_ALL * words
    if enough and foreign <= MOST_FOREIGN * own:
        return Guess(ENGLISH, found)
    return Guess(OTHER, f"{found}, {_percent(foreign, words)} among those of other languages")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def sample(rows: int) -> list[int]:
    """Rows of a corpus that a guess looks at: at most `SAMPLE`, evenly spaced, the same for the same corpus."""
    size = min(rows, SAMPLE)
    return [place * rows // size for place in range(size)]


def resolve_language(asked: str, sentences: Dataset) -> str:
    """The language that was asked for; for ``auto``, ``en`` or ``other`` by a guess. What it is is logged.

    Args:
        asked: ``--language``.
        sentences: column ``text``.
    """
    if asked != AUTO:
        logger.info("language: %s", asked if is_english(asked) else f"{asked}, shaped without English rules")
        return asked
    guess = guess_language(sentences[sample(len(sentences))]["text"])
    if guess.language == ENGLISH:
        logger.info("language: English (guessed: %s)", guess.why)
    else:
        logger.info(
            "language: not English (guessed: %s): texts are shaped without English rules; say --language en if it is",
            guess.why,
        )
    return guess.language
