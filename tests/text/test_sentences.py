"""Where sentences end, in many languages."""

from __future__ import annotations

import time
import unicodedata

import pytest
from languages import PHRASES, TEXTS, passage

from zskd.text import sentences as module
from zskd.text.scripts import word_count
from zskd.text.sentences import MAX_WORDS, PHRASE_WORDS, split_sentences

SPLIT = {
    "plain": ["The river rose.", "Nobody saw it!", "Was it late?", "42 boats sank."],
    "titles": ["Dr. Smith met Mrs. Jones and Prof. Ray Brown.", "They spoke for an hour."],
    "initials": ["J. R. R. Tolkien wrote it in the U.S. Army library.", "George W. Bush read it."],
    "latin": ["Some cities, e.g. London or i.e. Paris, grew.", "Others shrank, cf. Rome vs. Milan."],
    "saints": ["St. Mary's Church stands on No. 7 Hill.", "It is old."],
    "numbers": ["It rose by 3.5 percent in May.", "It then fell by .5 points."],
    "quotes": ['She said "stop."', "He did.", "(They all did.)", '"Why?"', "Nobody knew."],
    "lower case": ["It ran on node.js and e.g. perl. then it broke.", "Nobody minded."],
    "no end mark": ["The first one ends.", "The second does not"],
}


@pytest.mark.parametrize("expected", SPLIT.values(), ids=SPLIT)
def test_splits_between_sentences_only(expected: list[str]) -> None:
    assert list(split_sentences(" ".join(expected))) == expected


@pytest.mark.parametrize("passage", [*(" ".join(parts) for parts in SPLIT.values()), "", "  ", "...", "A. B. C."])
def test_splitting_loses_nothing(passage: str) -> None:
    found = list(split_sentences(passage))
    assert " ".join(found).split() == passage.split()
    assert all(sentence == sentence.strip() != "" for sentence in found)


@pytest.mark.parametrize("language", [*TEXTS, *PHRASES])
def test_splits_every_language(language: str) -> None:
    assert list(split_sentences(passage(language))) == {**TEXTS, **PHRASES}[language]


@pytest.mark.parametrize("language", ["French", "Korean", "Vietnamese", "Hindi", "Greek"])
def test_letters_may_be_decomposed(language: str) -> None:
    decomposed = [unicodedata.normalize("NFD", sentence) for sentence in TEXTS[language]]
    assert list(split_sentences(" ".join(decomposed))) == decomposed


@pytest.mark.parametrize("language", TEXTS)
def test_a_language_can_follow_another(language: str) -> None:
    english = "The river rose in the night."
    found = list(split_sentences(f"{english} {passage(language)} {english}"))
    assert found == [english, *TEXTS[language], english]


@pytest.mark.parametrize(
    "whole",
    [
        "Wir trafen Hrn. Ä. Müller, vgl. Abb. 3, am 12. März um 5 Uhr.",
        "Vgl. Abb. 3 und Nr. 5.",
        "Ο κ. Παπαδόπουλος ήρθε χθες.",
        "قال د. أحمد إن النهر ارتفع.",
        "Im 19. Jahrhundert lebten hier 3 Mio. Menschen.",
        "Er kam i. d. R. spät, d. h. nach 8 Uhr.",
        "Der Turm stand schon 300 v. Chr. Geburt dort.",
        "Mme. Élise et MM. Émile et Paul sont partis.",
        "Das kostet 3.500 Euro oder 3,5 Mio. Dollar.",
        "Η τιμή είναι 3.5 ευρώ· όχι παραπάνω.",
        "Он родился в г. Москве на ул. Пушкина.",
        "นายก ดร. สมชาย มา พ.ศ. ๒๕๖๐ แล้ว",
        "版本３．５已经发布了。",
        "访问 www.example.com 网站看看。",
        "He paid 3 apples; Bob paid 4.",  # no Greek question
        "Time: Noon is too late.",  # no Armenian full stop
        "a | B is either one.",  # no danda
    ],
)
def test_places_that_are_no_end(whole: str) -> None:
    assert list(split_sentences(whole)) == [whole]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("好！！走吧？！真的。", ["好！！", "走吧？！", "真的。"]),
        ("他说：“走吧。”“好的。”我们走了。", ["他说：“走吧。”", "“好的。”", "我们走了。"]),
        ("「行く。」と言った。「駄目だ。」", ["「行く。」と言った。", "「駄目だ。」"]),
        ("「もう！「行く。」」と言った。はい。", ["「もう！", "「行く。」」と言った。", "はい。"]),
        ("河水涨了.我们走吧.好.", ["河水涨了.", "我们走吧.", "好."]),
        ("河水涨了｡我们走吧｡", ["河水涨了｡", "我们走吧｡"]),
        ("Τι είναι αυτό\u037e Τίποτα.", ["Τι είναι αυτό\u037e", "Τίποτα."]),
        ("नदी बढ़ी।हम चले।", ["नदी बढ़ी।", "हम चले।"]),
        ("»Halt!« Er blieb stehen. „Ärger?“ Nein.", ["»Halt!«", "Er blieb stehen.", "„Ärger?“", "Nein."]),
        ("« Halte ! » Il s’arrêta… Était-ce fini ?", ["« Halte ! »", "Il s’arrêta…", "Était-ce fini ?"]),
        ("Она ушла. — Когда? — Вчера.", ["Она ушла.", "— Когда?", "— Вчера."]),
        ("¡Ven! ¿Quién es? «Él».", ["¡Ven!", "¿Quién es?", "«Él»."]),
        ("It ended. “Really?” Élan vital.", ["It ended.", "“Really?”", "Élan vital."]),
        ("ກ້າວ! ຂ້ອຍ", ["ກ້າວ!", "ຂ້ອຍ"]),
        # Zero-width spaces and marks of direction, which pages leave in their text.
        ("It rained.\u200b So?\ufeff Nobody knew.", ["It rained.\u200b", "So?\ufeff", "Nobody knew."]),
        ("Er kam.\u200b \u200bÄrger gab es.", ["Er kam.\u200b", "\u200bÄrger gab es."]),
        ("\u200fהנהר עלה.\u200f מי ראה?\u200f \u200fאיש.", ["\u200fהנהר עלה.\u200f", "מי ראה?\u200f", "\u200fאיש."]),
        (
            "She left. \u202bمرحبا بك.\u202c \u202aHe stayed.",
            ["She left.", "\u202bمرحبا بك.\u202c", "\u202aHe stayed."],
        ),
        ("Version 3.\u200b5 is out.", ["Version 3.\u200b5 is out."]),
    ],
)
def test_marks_and_quotes_of_other_scripts(text: str, expected: list[str]) -> None:
    assert list(split_sentences(text)) == expected


@pytest.mark.parametrize("parts", SPLIT.values(), ids=SPLIT)
def test_the_short_ways_find_the_same_places(parts: list[str]) -> None:
    """ASCII and Latin passages are split with patterns of their own, which are faster."""
    text = " ".join(parts)
    ways = (module._ASCII_END, module._LATIN_END, module._END)
    assert {tuple(module._split(text, way)) for way in ways} == {tuple(parts)}


@pytest.mark.parametrize("language", ["German", "French", "Spanish", "Dutch", "Turkish", "Polish"])
def test_the_short_way_for_latin_letters_finds_the_same_places(language: str) -> None:
    ways = (module._LATIN_END, module._END)
    assert {tuple(module._split(passage(language), way)) for way in ways} == {tuple(TEXTS[language])}


def test_long_text_without_marks_is_cut_where_words_have_no_spaces() -> None:
    clause = "昨天夜里河水涨得很高"
    for text in ("，".join([clause] * 60), clause * 60, " ".join([clause] * 60), "เมื่อคืนนี้น้ำในแม่น้ำขึ้นสูง" * 40):
        found = list(split_sentences(text))
        assert len(found) > 1 and all(3 <= word_count(piece) <= MAX_WORDS for piece in found)
        assert "".join("".join(found).split()) == "".join(text.split())
    assert all(piece.endswith("，") for piece in list(split_sentences("，".join([clause] * 60)))[:-1])


def test_thai_phrases_have_a_length() -> None:
    text = " ".join(["น้ำขึ้นสูง"] * 30)
    found = list(split_sentences(text))
    assert " ".join(found) == text and all(word_count(phrase) >= PHRASE_WORDS for phrase in found[:-1])
    assert len(found) > 5


@pytest.mark.parametrize(
    "text", ["«", "»", '"', "(", "“", "¿", "—", ".", "。", "」", ". ", "« ", "! »", "。」", "、", "น ", "… «"]
)
def test_long_runs_of_marks_take_no_time(text: str) -> None:
    started = time.perf_counter()
    for run in (f"Är. {text * 5_000}a", text * 5_000, f"我. {text * 5_000}と"):
        assert "".join("".join(split_sentences(run)).split()) == "".join(run.split())
    assert time.perf_counter() - started < 10
