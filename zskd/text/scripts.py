"""What scripts differ in: letters, whether words have spaces between them, and the mark of a question.

A text is cut into *units*, which are shuffled, dropped and drawn in place of words. Where words have spaces between
them, units are words. Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan and others have no such spaces: there a
unit is a run of a few characters, about as long as a word. Characters are grapheme clusters, so that no vowel sign is
parted from its letter. Properties of characters are Unicode's, by way of the `regex` package.
"""

from __future__ import annotations

import re

import regex

# Classes of characters, to stand between brackets. Line_Break=SA is Unicode's class of the scripts of South East Asia
# in which words are found with a dictionary: Thai, Lao, Khmer, Burmese and smaller ones.
_IDEOGRAMS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}ー"
SOUTH_EAST = r"\p{Line_Break=SA}\p{Javanese}\p{Balinese}"
UNSPACED = rf"{_IDEOGRAMS}{SOUTH_EAST}\p{{Tibetan}}"

# Characters of a unit, about those of a word: a Chinese or Japanese word has 1.5 to 2 characters on average, a Thai,
# Khmer or Burmese one 3 letters with their marks, a Tibetan syllable 2 to 3. So limits in words hold for all scripts.
RUN_IDEOGRAMS = 2
RUN_OTHERS = 3

# A grapheme cluster, with what Unicode's rule leaves apart: vowels written before their letter (Thai, Lao), spacing
# vowel signs (Burmese), and letters below others (Khmer, Burmese).
CLUSTER = r"(?:\p{Logical_Order_Exception}*\X\p{M}*(?:(?<=[\u1039\u17d2])\X\p{M}*)*)"

# All characters of the next two classes and many others, found faster.
_MAY_LACK_SPACES = re.compile("[\u0e00-\u1dff\u2e80-\U0010ffff]")
_MAY_BE_MARKS = re.compile("[\u00ad\u0300-\u036f\u0483-\u1dff\u200b-\u200d\u2060\u20d0-\u20ff\u2cef-\U0010ffff]")
_UNSPACED = regex.compile(rf"[{UNSPACED}]")
_IDEOGRAM_CLUSTERS = regex.compile(rf"(?=[{_IDEOGRAMS}]){CLUSTER}")
_OTHER_CLUSTERS = regex.compile(rf"(?=[{SOUTH_EAST}\p{{Tibetan}}]){CLUSTER}")
_WORDS_BETWEEN = regex.compile(r"[\p{L}\p{N}]\S*")
_MARKS = regex.compile(r"[\p{M}\u200b-\u200d\u2060\u00ad]")  # with joiners, which stand inside words
_EDGES = regex.compile(r"^[\p{P}\p{S}\p{Z}\u200b]+|[\p{P}\p{S}\p{Z}\u200b]+$")

# Punctuation as wide as an ideogram, which has no space on either side.
_WIDE = r"\u3000-\u3004\u3008-\u3020\u3030\u303d\u30fb\ufe30-\ufe6f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
_TIGHT = regex.compile(rf"[{UNSPACED}{_WIDE}]")
_OPENING = r"[\p{Ps}\p{Pi}]*"
_RUNS = "|".join(
    rf"(?:(?=[{script}]){CLUSTER}){{1,{most}}}"
    for script, most in (
        (r"\p{Han}", RUN_IDEOGRAMS),
        (r"\p{Hiragana}", RUN_IDEOGRAMS),
        (r"\p{Katakana}ー", RUN_IDEOGRAMS),
        (r"\p{Bopomofo}", RUN_OTHERS),
        (rf"{SOUTH_EAST}\p{{Tibetan}}", RUN_OTHERS),
    )
)
_UNIT = regex.compile(
    rf"{_OPENING}(?:{_RUNS})[[\p{{P}}\p{{S}}\u200b]--[\p{{Ps}}\p{{Pi}}]]*"
    rf"|{_OPENING}[^\s{UNSPACED}{_WIDE}\p{{Ps}}\p{{Pi}}]+[[{_WIDE}]--[\p{{Ps}}\p{{Pi}}]]*"
    r"|\S",
    regex.VERSION1,
)

# Scripts whose mark of a question is not "?".
_QUESTION_MARKS = tuple(
    (regex.compile(rf"[{script}]"), mark)
    for script, mark in (
        (_IDEOGRAMS, "？"),
        (r"\p{Arabic}", "؟"),
        (r"\p{Greek}", ";"),
        (r"\p{Armenian}", "՞"),
        (r"\p{Ethiopic}", "፧"),
    )
)


def letters(text: str) -> int:
    """Number of letters and of the marks that belong to them, such as vowel signs."""
    found = sum(map(str.isalpha, text))
    return found if text.isascii() or not _MAY_BE_MARKS.search(text) else found + len(_MARKS.findall(text))


def is_word(text: str) -> bool:
    """Whether a text consists of letters and their marks alone."""
    return bool(text) and letters(text) == len(text) and not _MARKS.match(text)


def has_unspaced(text: str) -> bool:
    """Whether a text has any letter of a script without spaces between words."""
    return not text.isascii() and bool(_MAY_LACK_SPACES.search(text) and _UNSPACED.search(text))


def lacks_spaces(text: str) -> bool:
    """Whether at least half of a text's words are in scripts without spaces between words."""
    if not has_unspaced(text):
        return False
    return len(_UNSPACED.findall(text)) >= RUN_IDEOGRAMS * len(_WORDS_BETWEEN.findall(_UNSPACED.sub(" ", text)))


def word_count(text: str) -> int:
    """Words of a text whose white space is single spaces; in a script without spaces, what corresponds to words.

    Example:
        >>> word_count("It rained."), word_count("我们昨天在北京见面。")
        (2, 5)
    """
    if text.isascii() or not lacks_spaces(text):  # a Chinese name in an English sentence is one word of it
        return text.count(" ") + 1
    ideograms, others = len(_IDEOGRAM_CLUSTERS.findall(text)), len(_OTHER_CLUSTERS.findall(text))
    between = len(_WORDS_BETWEEN.findall(_UNSPACED.sub(" ", text)))
    return -(-ideograms // RUN_IDEOGRAMS) - (-others // RUN_OTHERS) + between


def units(text: str) -> list[str]:
    """The units of a text, in order. `join` puts them together again, with single spaces.

    For a text whose words have spaces between them, the same as ``text.split()``. A unit of another script ends with
    a space where the text has one.

    Example:
        >>> units("我用 Python 编程。"), units("Ein Satz."), join(units("我用 Python 编程。"))
        (['我用 ', 'Python ', '编程。'], ['Ein', 'Satz.'], '我用 Python 编程。')
    """
    words = text.split()
    if not has_unspaced(text):
        return words
    found: list[str] = []
    for word in words:
        parts = _UNIT.findall(word)
        if found and _touch(found[-1], parts[0]):
            found[-1] += " "
        found.append(parts[0])
        for part in parts[1:]:
            if _touch(found[-1], part):
                found.append(part)
            else:  # "(3)": no script tells that there is no space here
                found[-1] += part
    return found


def join(parts: list[str]) -> str:
    """Put units together: without a space beside a script that has none, with one elsewhere."""
    pieces: list[str] = []
    for part in parts:
        if pieces and not _touch(pieces[-1], part) and not pieces[-1].endswith(" "):
            pieces.append(" ")
        pieces.append(part)
    return "".join(pieces).strip()


def _touch(left: str, right: str) -> bool:
    """Whether two units stand beside each other without a space, by their scripts."""
    return bool(_TIGHT.match(left[-1]) or _TIGHT.match(right[0]))


def core(unit: str) -> str:
    """A unit without the punctuation and white space around it."""
    return _EDGES.sub("", unit)


def question_mark(text: str) -> str:
    """The mark that ends a question in the script of most letters of a text."""
    if not text.isascii():
        half = letters(text) / 2
        for script, mark in _QUESTION_MARKS:
            if len(script.findall(text)) > half:
                return mark
    return "?"
