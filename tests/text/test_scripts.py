"""Units of text in many scripts."""

from __future__ import annotations

import unicodedata

import pytest
from languages import PHRASES, TEXTS, passage

from zskd.text.scripts import core, is_word, join, lacks_spaces, letters, question_mark, units, word_count

WITHOUT = ("Chinese", "Japanese", "Burmese", "Khmer", "Tibetan", "Thai", "Lao")


@pytest.mark.parametrize("language", [*TEXTS, *PHRASES])
def test_units_are_words_or_a_few_characters(language: str) -> None:
    text = passage(language)
    assert lacks_spaces(text) == (language in WITHOUT)
    found = units(text)
    assert join(found) == text and all(unit.strip() for unit in found)
    if language not in WITHOUT:
        assert found == text.split()
        return
    assert max(len(core(unit)) for unit in found) <= 15 and len(found) > len(text) / 12
    # No mark is parted from its letter.
    assert not any(unicodedata.category(unit[0])[0] == "M" for unit in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我用 Python 和C++写程序。", ["我用 ", "Python ", "和", "C++", "写程", "序。"]),
        ("（见图3）他说：“好。”", None),
        ("2024年3月，iPhone 15 Pro Max上市", None),
        ("ราคา 500 บาท (ลด 10%) ที่ Tokyo", None),
        ("東京は「大都市」です。New York is too.", None),
        ("北京.The end", None),
        ("한국어와 漢字를 섞은 문장", None),
        ("ភាសា\u200bខ្មែរ\u200bងាយ", None),
        ("", []),
    ],
)
def test_mixed_texts_come_back(text: str, expected: list[str] | None) -> None:
    found = units(text)
    assert join(found) == text
    assert expected is None or found == expected
    words = [word for word in ("Python", "C++", "iPhone", "Pro", "Max", "Tokyo", "New", "York") if word in text]
    assert set(words) <= {core(unit) if unit != "C++" else unit for unit in found}


def test_units_of_other_words_are_joined_with_the_spaces_of_their_scripts() -> None:
    assert join(["程序", "Python", "Java", "好"]) == "程序Python Java好"
    assert join(["Ein", "Satz."]) == "Ein Satz." and join([]) == ""


def test_words_are_counted() -> None:
    assert word_count("Drei kurze Wörter") == 3
    assert word_count("我们昨天在北京见面") == 5  # nine ideograms, two a word
    assert word_count("น้ำขึ้นสูงมาก") == 3  # eight letters with their marks, three a word
    assert word_count("我用 Python 编程") == 3 and word_count("他用Python和JavaScript写") == 4
    assert word_count("They visited 北京 in May") == 5


def test_letters_and_words_have_marks() -> None:
    assert letters("हिन्दी") == len("हिन्दी") and is_word("हिन्दी") and is_word("می‌روند")
    assert is_word("Straße") and not is_word("x-y") and not is_word("") and not is_word("12") and not is_word("\u093f")
    assert core("«Straße!» ") == "Straße"


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("Wer kommt mit β", "?"),
        ("ποιος έρχεται", ";"),
        ("من يأتي", "؟"),
        ("谁和 John 来", "?"),
        ("谁来和我们一起走 OK", "？"),
        ("誰が来ます", "？"),
        ("누가 옵니까", "?"),
        ("ማን ይመጣል", "፧"),
        ("ով է գալիս", "՞"),
        ("कौन आता है", "?"),
    ],
)
def test_the_mark_of_a_question_is_that_of_the_script(text: str, mark: str) -> None:
    assert question_mark(text) == mark
