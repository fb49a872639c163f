"""Where sentences end, in all scripts.

Three kinds of places are ends:

- after a mark that ends nothing but sentences (``。 ！ ？ । ॥ ؟ ۔ ։ ።`` and whatever else Unicode calls
  Sentence_Terminal), with or without a space;
- after ``. ! ? …``, the Greek question mark, an Armenian colon or an Indic bar, if white space follows and then a
  capital, a digit or a letter of a script without capitals, except after known abbreviations;
- in Thai and other scripts without such marks, at spaces.

Nothing but white space is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import regex

from zskd.text.scripts import CLUSTER, SOUTH_EAST, UNSPACED, lacks_spaces, word_count

MIN_WORDS, MAX_WORDS = 3, 80
PHRASE_WORDS = 8  # a phrase of a script without end marks is not ended before this length
PIECE_WORDS = 40  # the same for pieces of an overlong sentence of a script without spaces

_HARD = r"[[\p{Sentence_Terminal}\u0f0d\u0f0e]--[!.?\u061d\u061e\u104a\u2024\uff0e]]"
_CASELESS = rf"[[\p{{Lo}}\p{{Georgian}}]--[{SOUTH_EAST}]]"
_KANA_HAN = r"\p{Han}\p{Hiragana}\p{Katakana}ー"
_DANDA = r"\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}\p{Oriya}"
_CLOSING = r"[\p{Pe}\p{Pf}'\"]"
_QUOTES = r"[\p{Pe}\p{Pf}\p{Pi}'\"]"  # “ closes in German, » in French, « in Danish
_START = (
    rf"(?:[«»‹›]\s?|[[\p{{Ps}}\p{{Pi}}\"'¿¡]--[«‹]])*+(?:[\p{{Lu}}\p{{Lt}}\p{{Nd}}]|{_CASELESS})"
    r"|(?<!\s[.!?…]\s)[–—]\s?(?:[\p{Lu}\p{Lt}]|\p{Georgian})"  # a dialogue in French, Spanish or Russian
)
_UNSEEN = r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"  # zero-width characters and marks of direction
_SPACE_AND_START = rf"(?:{_QUOTES}|{_UNSEEN}|\s(?=»))*\s+(?={_UNSEEN}*(?:{_START}))"

_END = regex.compile(
    # A mark of its own. In Japanese, 「...。」と goes on.
    rf"(?:{_HARD}|\uff0e(?!\p{{Nd}}))(?:{_HARD}|[!?.\uff0e])*+(?:{_CLOSING}++(?!\p{{Hiragana}})|(?!{_CLOSING}))\s*"
    # A full stop of ASCII between ideograms.
    rf"|(?<=[{_KANA_HAN}])[.!?]+{_QUOTES}*\s*(?=[\p{{Ps}}\p{{Pi}}\"']*[{_KANA_HAN}])"
    # A Thai full stop is that of an abbreviation.
    rf"|(?:[!?]|(?<![{SOUTH_EAST}])\.){_QUOTES}*\s+(?=[\p{{Ps}}\p{{Pi}}\"']*[{SOUTH_EAST}])"
    rf"|(?:(?<![{SOUTH_EAST}])\.|[!?…]|(?<=\p{{Greek}}{_QUOTES}?)[;\u037e]|(?<=\p{{Armenian}}{_QUOTES}?):|(?<=[{_DANDA}]\s?)\|)"
    rf"{_SPACE_AND_START}",
    regex.VERSION1,
)
# The same places, in text that can do with fewer classes of characters, which are slow to look up.
_LATIN = re.compile(r"[\x00-\u036f\u2010-\u203a]*")
_LATIN_END = regex.compile(rf"[.!?…]{_SPACE_AND_START}", regex.VERSION1)
_ASCII_END = re.compile(r"[.!?]['\")\]]*\s+(?=[\"'(\[]*[A-Z0-9])")

# Words before a full stop that ends no sentence: English; German; French and Spanish; Russian; "Mr." in Greek and "Dr."
# in Arabic. Words that often end sentences, such as "Art." and "usw.", are left out.
_KNOWN = (
    "Mr Mrs Ms Dr Prof St Sr Jr Gen Col Lt Sgt Capt Rev No vs etc e.g i.e cf al fig approx "
    "Nr Hr Hrn bzw vgl Vgl Abb Mio Mrd Chr Dipl Ing MM Mlle Mme Sra Dra ул им проф акад рис"
)
_ABBREVIATIONS = frozenset(_KNOWN.split()) | frozenset("бвгджзклмнпрстфхцчшщκ\u062f")
_LAST_WORD = re.compile(r"(\w+|e\.g|i\.e)\s?\.$")
# Places that what follows shows to be no end: German pairs such as "z. B." and dates such as "3. Oktober".
_BEFORE, _AFTER = 12, 14  # characters looked at
_NO_END = {
    **dict.fromkeys(("z", "Z"), re.compile(r"[BTZ]\w?\.")),
    **dict.fromkeys(("d", "D"), re.compile(r"R\.")),
    **dict.fromkeys(("o", "u"), re.compile(r"[ÄUA]\.")),
    **dict.fromkeys(("v", "n"), re.compile(r"Chr\.")),
    "i": re.compile(r"[dAVR]\."),
}
_DATE = re.compile(
    r"(?:Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|Jahrhundert)"
)

_SOUTH_EAST = regex.compile(rf"[{SOUTH_EAST}]")
_UNSPACED = regex.compile(rf"[{UNSPACED}]")
_SPACES = regex.compile(rf"(?<=[{SOUTH_EAST}])\s+(?=[{SOUTH_EAST}])")
_COMMAS = regex.compile(r"(?<=[、，；：,;་།])\s*|\s+")
_CLUSTER = regex.compile(CLUSTER)


def split_sentences(passage: str) -> Iterator[str]:
    """Split a passage into sentences. Nothing but white space between them is lost.

    Example:
        >>> list(split_sentences("Am 3. Oktober kam er an. Ärger gab es nicht.")), list(split_sentences("好。走吧！"))
        (['Am 3. Oktober kam er an.', 'Ärger gab es nicht.'], ['好。', '走吧！'])
    """
    if passage.isascii():
        yield from _split(passage, _ASCII_END)
    elif _LATIN.fullmatch(passage):
        yield from _split(passage, _LATIN_END)
    else:
        for sentence in _split(passage, _END):
            yield from _pieces(sentence)


def _split(passage: str, end_mark: re.Pattern[str]) -> Iterator[str]:
    start = 0
    for match in end_mark.finditer(passage):
        end = match.end()
        before = passage[max(start, end - _BEFORE) : end].rstrip()
        if before.endswith(".") and _is_abbreviated(before, passage[end : end + _AFTER]):
            continue
        if head := passage[start:end].strip():
            yield head
        start = end
    if tail := passage[start:].strip():
        yield tail


def _is_abbreviated(before: str, after: str) -> bool:
    """Whether the full stop at the end of `before` belongs to an abbreviation or an ordinal number."""
    if not (found := _LAST_WORD.search(before)):
        return False
    word = found[1]
    if len(word) > 4:  # no abbreviation of the list is longer
        return word == "approx"
    if len(word) == 1 and (word.isupper() or (word in _NO_END and _NO_END[word].match(after))):
        return True
    return word in _ABBREVIATIONS or bool(word.isdecimal() and len(word) <= 2 and _DATE.match(after))


def _pieces(sentence: str) -> Iterator[str]:
    """The sentence itself; in a script without spaces, phrases at spaces, and parts of what is too long."""
    if not lacks_spaces(sentence):
        yield sentence
    elif 2 * len(_SOUTH_EAST.findall(sentence)) < len(_UNSPACED.findall(sentence)):
        yield from _short_enough(sentence)
    else:
        for phrase in _grouped(sentence, _SPACES, PHRASE_WORDS):
            yield from _short_enough(phrase)


def _short_enough(sentence: str) -> Iterator[str]:
    """A sentence, or its parts at commas and spaces if it is too long, or at any character."""
    if word_count(sentence) <= MAX_WORDS:
        yield sentence
        return
    for part in _grouped(sentence, _COMMAS, PIECE_WORDS):
        if word_count(part) <= MAX_WORDS:
            yield part
            continue
        clusters = _CLUSTER.findall(part)
        size = -(-len(clusters) // -(-len(clusters) // PIECE_WORDS))  # of parts of about equal length
        for start in range(0, len(clusters), size):
            if piece := "".join(clusters[start : start + size]).strip():
                yield piece


def _grouped(sentence: str, places: regex.Pattern[str], least: int) -> Iterator[str]:
    """Parts of at least `least` words that end at the given places; a short rest belongs to the last one."""
    ends = [place.end() for place in places.finditer(sentence)]
    cuts, start = [0], 0
    for end in ends:
        if word_count(sentence[start:end].strip()) >= least:
            cuts.append(end)
            start = end
    if len(cuts) > 1 and word_count(sentence[start:].strip()) < MIN_WORDS:
        cuts.pop()
    for begin, end in zip(cuts, [*cuts[1:], len(sentence)], strict=True):
        if part := sentence[begin:end].strip():
            yield part
