"""Neighbouring words: which words of an encoder mean nearly the same, and texts in which they are replaced.

English only: what is a content word, and which words are forms of one word, is said by English rules.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from zskd.models.sentence_encoder import SentenceEncoder, centred_directions
from zskd.system.arrow import arrow_digest, keep_arrow, open_arrow
from zskd.text.words import opposite_words

# Increase it when the same encoder would give other neighbours.
FORMAT = 1

LEAST_COSINE = 0.55  # of the centred states of two neighbours
KEPT = 24  # neighbours of a word in the cache, from which those that a corpus has are taken
NEAREST = 5  # neighbours that a word is replaced by
REPLACED = (0.5, 1.0)  # share of the words with neighbours that are replaced, drawn uniformly from this range
FORM_SHARE = 0.6  # words that begin alike for this share of the shorter one are taken for forms of one word
BLOCK = 1_024

_SCHEMA = pa.schema({"word": pa.string(), "neighbours": pa.list_(pa.string())})
_PARTS = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)
_LETTERS = re.compile("[a-z]{3,}")
_FUNCTION_WORDS = """
    a about above across after again against all almost along already also although always am among an and another any
    anybody anyone anything are around as at away back be became because become becomes been before behind being below
    between both but by can cannot could did do does doing done down during each either else enough etc even ever every
    everybody everyone everything few for from further get gets getting give given gives go goes going gone got had has
    have having he her here hers herself him himself his how however i if in instead into is it its itself just least
    less let made make makes making many may me might mine more most much must my myself near neither never next no
    nobody none nor not nothing now of off often on once one only onto or other others our ours ourselves out over own
    per perhaps put quite rather said same say says shall she should since so some somebody someone something somewhere
    soon still such than that the their theirs them themselves then there therefore these they thing things this those
    though through throughout thus to together too took toward towards under until unto up upon us use used using very
    via was we went were what whatever when where whether which while who whole whom whose why will with within without
    would yet you your yours yourself
"""
# Content words whose neighbours mostly say something else: numbers, times, units, directions, colours, relatives.
_FIXED = """
    zero two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty
    ninety hundred hundreds thousand thousands million millions billion first second third fourth fifth sixth seventh
    eighth ninth tenth nineteenth twentieth monday tuesday wednesday thursday friday saturday sunday january february
    march april june july august september october november december spring summer autumn winter seconds minute
    minutes hour hours day days night nights morning evening week weeks month months year years annual decade decades
    century centuries mile miles kilometre kilometres kilometer kilometers metre metres meter meters foot feet inch
    inches acre acres hectares pound pounds ton tons tonnes left right north south east west northern southern eastern
    western red blue green yellow black white brown orange pink purple father mother brother brothers sister sisters son
    sons daughter daughters husband wife uncle aunt boy boys girl girls male female males females woman women king queen
"""
# Neighbours that are opposites, beside those of `zskd.text.words`.
_OPPOSITES = """
    wide/narrow majority/minority expensive/cheap expensive/budget older/younger oldest/youngest buy/sell bought/sold
    win/lose wins/loses winning/losing winner/loser victory/defeat victories/defeats attack/defense offensive/defensive
    major/minor strong/weak stronger/weaker hot/cold warm/cool positive/negative success/failure arrival/departure
    arrived/departed upper/lower inner/outer internal/external import/export urban/rural quickly/slowly rapidly/slowly
    fast/slow faster/slower rise/fall rose/fell open/closed opened/closed heavy/light rich/poor easy/difficult
    easily/difficult accept/reject accepted/rejected allowed/banned succeeded/failed better/worse longer/shorter
    larger/smaller big/small huge/small huge/tiny large/tiny higher/lower highest/lowest increased/decreased
    increasing/decreasing increase/reduce increased/reduced public/private true/false alive/dead life/death lives/deaths
    ancient/modern domestic/foreign northward/southward eastward/westward maximum/minimum enemy/ally enemies/allies
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


def _core(word: str) -> str:
    found = _PARTS.fullmatch(word)
    assert found is not None
    return found[2]


def content_words(text: str) -> frozenset[str]:
    """The words of a text that are no function words, in small letters, without marks at their ends; numbers count.

    Example:
        >>> sorted(content_words("The river rose, and nobody saw it in 1913."))
        ['1913', 'river', 'rose', 'saw']
    """
    return frozenset(core for word in text.lower().split() if (core := _core(word)) and core not in FUNCTION_WORDS)


def overlap_of(left: str, right: str) -> float:
    """Jaccard index of the content words of two texts: how many are common to both, of all; 0 if there are none.

    Example:
        >>> overlap_of("The river rose.", "A river fell in the night")
        0.25
    """
    words, others = content_words(left), content_words(right)
    return len(words & others) / max(1, len(words | others))


def one_word(left: str, right: str) -> bool:
    """Whether two words are taken for forms of one word, such as an inflection or a derivation.

    Example:
        >>> one_word("city", "cities"), one_word("made", "unmade"), one_word("city", "town")
        (True, True, False)
    """
    shorter, longer = sorted((left, right), key=len)
    alike = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), len(shorter))
    return shorter in longer or alike >= max(2, FORM_SHARE * len(shorter))


def _ending(word: str) -> str:
    """A word is replaced by words with its ending, which are mostly of its kind and form."""
    if word.endswith(("ss", "us", "is")):
        return ""
    return next((ending for ending in ("ing", "ed", "ly", "s") if word.endswith(ending)), "")


def _opposites() -> set[tuple[str, str]]:
    listed = [tuple(pair.split("/")) for pair in _OPPOSITES.split()]
    return opposite_words() | {pair for left, right in listed for pair in ((left, right), (right, left))}


def _candidates(vocabulary: Iterable[str]) -> list[str]:
    """Words of a vocabulary that may be replaced and replace others."""
    barred = FUNCTION_WORDS | set(_FIXED.split())
    return sorted(word for word in vocabulary if _LETTERS.fullmatch(word) and word not in barred)


def neighbouring_words(words: list[str], states: np.ndarray) -> dict[str, list[str]]:
    """Each word's neighbours, nearest first, at most `KEPT`; words without any are left out.

    A neighbour has a cosine above `LEAST_COSINE` and the same ending. It is no form of the word and not its opposite.

    Args:
        words: distinct, in small letters.
        states: ``(words, hidden)`` of each word read alone, not centred.
    """
    directions = centred_directions(states)
    endings, opposites = np.array([_ending(word) for word in words]), _opposites()
    found = {}
    for start in range(0, len(words), BLOCK):
        cosines = directions[start : start + BLOCK] @ directions.T
        for word, ending, row in zip(words[start:], endings[start:], cosines, strict=False):
            near = np.flatnonzero((row > LEAST_COSINE) & (endings == ending))
            ordered = near[np.lexsort((near, -row[near]))]
            others = [words[i] for i in ordered if not one_word(words[i], word) and (word, words[i]) not in opposites]
            if others:
                found[word] = others[:KEPT]
    return found


def cached_neighbours(encoder: SentenceEncoder, cache: Path) -> dict[str, list[str]]:
    """`neighbouring_words` of an encoder's vocabulary from the cache; missing or damaged, they are computed anew."""
    identity = (FORMAT, encoder.fingerprint, encoder.precision)
    path = cache / "neighbours" / hashlib.sha256(repr(identity).encode()).hexdigest()[:32] / "words.arrow"
    if arrow_digest(path, _SCHEMA) is None:
        words, states = encoder.words(_candidates(encoder.tokenizer.get_vocab()), "encoding words")
        made = neighbouring_words(words, states)
        columns = [
            pa.array(list(values), field.type) for values, field in zip((made, made.values()), _SCHEMA, strict=True)
        ]
        keep_arrow(path, [pa.record_batch(columns, schema=_SCHEMA)], _SCHEMA)
    rows = open_arrow(path)
    return dict(zip(rows["word"][:], rows["neighbours"][:], strict=True))


def words_in_use(neighbours: dict[str, list[str]], texts: Iterable[str]) -> dict[str, list[str]]:
    """The `NEAREST` neighbours of each word among those that texts have in small letters.

    So names, and words of other languages that an encoder's vocabulary has, replace none.
    """
    known = {word if word.isalpha() else _core(word) for text in texts for word in text.split()}
    used = {word: [one for one in others if one in known][:NEAREST] for word, others in neighbours.items()}
    return {word: others for word, others in used.items() if others}


def replace_words(words: list[str], neighbours: dict[str, list[str]], rng: np.random.Generator) -> list[str] | None:
    """A copy in which a random share of the words that have neighbours is replaced; None if none has.

    Words with a capital are left alone, because most are names. An article before a word follows it ("a", "an").
    """
    cores = [_core(word) for word in words]
    places = [i for i, core in enumerate(cores) if core in neighbours]
    if not places:
        return None
    count = max(1, round(len(places) * rng.uniform(*REPLACED)))
    result = list(words)
    for i in sorted(rng.choice(places, size=count, replace=False)):
        others = neighbours[cores[i]]
        other = others[int(rng.integers(len(others)))]
        result[i] = words[i].replace(cores[i], other, 1)
        if i and result[i - 1] in ("a", "an") and result[i] == other:
            result[i - 1] = "an" if other[0] in "aeiou" else "a"
    return result
