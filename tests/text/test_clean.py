"""From raw passages to clean sentences: what is dropped and why, and that nothing else is."""

from __future__ import annotations

import unicodedata

import pytest
from conftest import prose
from languages import PHRASES, TEXTS, passage

from zskd.text.clean import HEADING, LONG, MARKUP, NO_PROSE, SHORT, characters, is_prose, parts, sentences, why_dropped
from zskd.text.sentences import MAX_WORDS


@pytest.mark.parametrize("dropped", ["Two words.", "", " = Heading of a page = ", "12 34 / 56 - 78 + ok 9 @ 10 ( 11 )"])
def test_fragments_without_prose_are_dropped(dropped: str) -> None:
    assert list(sentences(dropped)) == []


def test_length_limits_count_words() -> None:
    assert is_prose("Three words here.")
    assert is_prose(" ".join(["word"] * MAX_WORDS))
    assert not is_prose(" ".join(["word"] * (MAX_WORDS + 1)))


def test_wikitext_marks_and_white_space_are_cleaned() -> None:
    raw = " The army of 1 @,@ 000 well @-@ armed   <unk> men\tcost 2 @.@ 5 million crowns .\n"
    assert list(sentences(raw)) == ["The army of 1,000 well-armed men cost 2.5 million crowns ."]


def test_clean_prose_passes_unchanged() -> None:
    lines = prose(50)
    assert list(sentences(" ".join(lines))) == lines
    assert [again for line in lines for again in sentences(line)] == lines


@pytest.mark.parametrize("language", [*TEXTS, *PHRASES])
def test_sentences_of_every_language_are_kept(language: str) -> None:
    assert list(sentences(passage(language))) == {**TEXTS, **PHRASES}[language]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (" = Überschrift einer Seite = ", HEADING),
        ("Zwei Wörter.", SHORT),
        ("好。", SHORT),
        ("ดี", SHORT),
        (" ".join(["Straße"] * (MAX_WORDS + 1)), LONG),
        ("Α 12 34 / 56 - 78 + 9 @ 10 ( 11 )", NO_PROSE),
        ("１２３４５６７８９０１２３４５６７８９０北京", SHORT),
        ("北京上海１２３４５６７８９０１２３４５６７８９０天津", NO_PROSE),
    ],
)
def test_what_is_dropped_has_a_reason_and_is_counted(raw: str, reason: str) -> None:
    (part,) = parts(raw)
    assert (part.dropped, part.characters) == (reason, characters(raw))


def test_markup_that_is_removed_is_counted() -> None:
    raw = " The army of 1 @,@ 000 well @-@ armed   <unk> men\tcost 2 crowns .\n"
    assert [(part.dropped, part.characters) for part in parts(raw)] == [(MARKUP, 4 + 5), (None, characters(raw) - 9)]


@pytest.mark.parametrize("language", [*TEXTS, *PHRASES])
def test_every_character_is_kept_or_dropped_for_a_reason(language: str) -> None:
    raw = f"  {passage(language)}\n{language}! 1 2 3.\t{passage(language)} ab"
    found = list(parts(raw))
    assert sum(part.characters for part in found) == characters(raw)
    assert "".join("".join(part.text.split()) for part in found) == "".join(raw.split())
    assert found == list(parts(raw))


def test_letters_have_marks_in_many_scripts() -> None:
    """By `isalpha` alone, half of the characters of these are no letters."""
    for sentence in ("हिंदी में लिखी हुई कविता", "ذَهَبَ الوَلَدُ إِلَى البَيْتِ", "ที่นี่มีน้ำท่วมสูงมากทุกปี"):
        assert why_dropped(sentence) is None
    assert why_dropped(unicodedata.normalize("NFD", "어제 밤에 강물이 크게 불었다.")) is None


def test_length_limits_hold_for_scripts_without_spaces() -> None:
    """Two ideograms or three Thai letters with their marks count as one word."""
    assert not is_prose("河水高。") and is_prose("河水很高了。")
    assert is_prose("河" * 2 * MAX_WORDS) and not is_prose("河" * (2 * MAX_WORDS + 1))
    assert is_prose("น้ำ" * 3 * MAX_WORDS) and not is_prose("น้ำ" * (3 * MAX_WORDS + 1))
