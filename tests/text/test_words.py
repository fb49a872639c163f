"""Words: spans, perturbation, edits that turn a meaning, and questions about a sentence."""

from __future__ import annotations

import itertools
import random
import re
import unicodedata

import numpy as np
import pytest
from languages import PHRASES, TEXTS, varied

from zskd.text import words as words_module
from zskd.text.language import OTHER_RULES
from zskd.text.scripts import core, join, question_mark, units
from zskd.text.words import (
    as_question,
    ask_about,
    is_content,
    perturb_words,
    question_starter,
    random_words,
    sub_span,
    turn_meaning,
    word_table,
)


class Forced:
    """A generator that always perturbs, with one operation."""

    def __init__(self, operation: str) -> None:
        self.index = words_module.OPERATIONS.index(operation)

    def uniform(self, low: float, high: float) -> float:
        return 1.0

    def random(self, size: int) -> np.ndarray:
        return np.zeros(size)

    def choice(self, count: int, size: int, p: object) -> np.ndarray:
        return np.full(size, self.index)


@pytest.mark.parametrize(
    "operation, expected",
    [("replace", "x x x"), ("insert", "a x b x c x"), ("drop", "a"), ("swap", "b c a")],
)
def test_each_operation(operation: str, expected: str) -> None:
    found = perturb_words(list("abc"), itertools.repeat("x"), Forced(operation))  # type: ignore[arg-type]
    assert " ".join(found) == expected


@pytest.mark.parametrize("rate", [0.0, 0.6, 1.0])
def test_perturbation_never_leaves_nothing(rate: float) -> None:
    rng = np.random.default_rng(0)
    for length in (1, 2, 12):
        words = [f"w{i}" for i in range(length)]
        results = [perturb_words(words, itertools.repeat("new"), rng, rate) for _ in range(300)]
        assert all(results) and all(set(result) <= {*words, "new"} for result in results)
        assert all(len(result) <= 2 * length for result in results)
        assert (results == [words] * 300) == (rate == 0)


def test_rate_bounds_the_share_of_changed_words() -> None:
    rng, words = np.random.default_rng(0), [f"w{i}" for i in range(400)]
    kept = [len(set(words) & set(perturb_words(words, itertools.repeat("new"), rng, 0.2))) for _ in range(40)]
    assert min(kept) > 400 * (1 - 0.25)
    assert max(kept) - min(kept) > 400 * 0.05, "the share itself is drawn"


def test_sub_spans_are_contiguous_and_of_the_stated_length() -> None:
    rng, (low, high) = np.random.default_rng(0), words_module.SPAN_WORDS
    for length in (1, 2, 3, 24, 60):
        words = [str(i) for i in range(length)]
        spans = [sub_span(words, rng) for _ in range(400)]
        for span in spans:
            assert span == words[int(span[0]) : int(span[0]) + len(span)]
            assert min(low, length) <= len(span) <= min(high, length)
        assert {span[0] for span in spans} >= {"0"} and {span[-1] for span in spans} >= {str(length - 1)}


@pytest.mark.parametrize("limits", [(3, 5), (2, 10), (8, 32)])
def test_limits_of_a_sub_span(limits: tuple[int, int]) -> None:
    rng, words = np.random.default_rng(0), [str(i) for i in range(40)]
    assert {len(sub_span(words, rng, limits)) for _ in range(600)} == set(range(limits[0], limits[1] + 1))


def test_word_table_flattens_counts() -> None:
    words, weights = word_table(iter(["b a a a", "a b2 3c (d"]))
    assert words == ["a", "b", "b2"]
    np.testing.assert_allclose(weights, np.array([2, 1, 1]) / 4)


def test_random_words_follow_their_weights() -> None:
    words = random_words(["a", "b", "c"], np.array([0.5, 0.3, 0.2]), np.random.default_rng(0))
    drawn = list(itertools.islice(words, 9_000))
    np.testing.assert_allclose([drawn.count(word) / 9_000 for word in "abc"], [0.5, 0.3, 0.2], atol=0.02)


def outcomes(function, draws: int = 200) -> set[str]:
    """Everything that a random function of a generator returns, as text."""
    return {" ".join(function(np.random.default_rng(seed))) for seed in range(draws)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it was fine", {"it was not fine"}),
        ("Never", {"x", "always"}),
        ("go go go go go go", {"x go go go go go"}),
        ("never mind", {"mind", "always mind", "x mind"}),
        ("see Rome by Oslo", {"see Oslo by Oslo", "see Rome by Rome"}),
        ("see Rome", {"see x"}),
        ("a b c", {"x b c", "a x c", "a b x"}),
        ("a plain cat, truly.", {"a x cat, truly.", "a plain cat, x"}),
        ("a b c d e f", {"c d e f a b", "d e f a b c"}),
        ("sky, above. sea", {"sky, below sea", "sky, x sea"}),
        ("they were old", {"they were not old", "they were new"}),
    ],
)
def test_each_edit_that_turns_a_meaning(text: str, expected: set[str]) -> None:
    assert outcomes(lambda rng: turn_meaning(text.split(), itertools.repeat("x"), rng)) == expected


def test_a_number_becomes_another_of_as_many_digits() -> None:
    found = outcomes(lambda rng: turn_meaning(["made", "(1850-1874),"], itertools.repeat("x"), rng))
    assert len(found) > 100 and "made (1850-1874)," not in found
    assert all(re.fullmatch(r"made \([1-9]{4}-[1-9]{4}\),", text) for text in found)
    before = "(1850-1874),"
    assert all(b != a for text in found for a, b in zip(before, text[5:], strict=True) if a.isdigit())
    assert outcomes(lambda rng: turn_meaning(["5"], itertools.repeat("x"), rng)) == set("12346789")


WORDS = [
    *("the", "stone", "bridge", "crosses", "market", "quietly", "beside", "old", "walls", "which", "people", "like"),
    *("is", "was", "can", "did", "not", "never", "no", "always", "all", "before", "north", "with", "He", "and"),
    *("Rome", "Paris", "Danube", "1850", "12,400", "1999.", "(near", "to)", "wall;"),
]


def sentences(count: int, low: int = 2) -> list[list[str]]:
    """Word lists of many lengths in which every kind of edit is possible somewhere."""
    rng = random.Random(0)
    return [rng.choices(WORDS, k=rng.randint(low, 30)) for _ in range(count)]


def test_turning_changes_the_words_and_little_of_them() -> None:
    rng, table = np.random.default_rng(0), (f"new{i}" for i in itertools.count())
    kinds = set()
    for words in sentences(2_000):
        before = list(words)
        turned = turn_meaning(words, table, rng)
        assert words == before
        assert turned and turned != words, words
        rotated = any(turned == words[i:] + words[:i] for i in range(1, len(words)))
        changed = sum(left != right for left, right in zip(words, turned, strict=False))
        kinds.add("order" if rotated else len(turned) - len(words))
        if len(turned) == len(words):
            assert rotated or changed == 1
        elif len(turned) < len(words):
            assert any(turned == words[:i] + words[i + 1 :] for i in range(len(words)))
        else:
            assert any(words == turned[:i] + turned[i + 1 :] for i in range(len(turned)) if turned[i] == "not")
    assert kinds == {"order", -1, 0, 1}


@pytest.mark.parametrize(
    ("text", "starter", "expected"),
    [
        ("The old bridge.", "why is", "Why is the old bridge?"),
        ("NATO grew", "when did", "When did NATO grew?"),
        ('the end!?" ', "what is", "What is the end?"),
        ("a Roman wall", "how do I", "How do I a Roman wall?"),
    ],
)
def test_a_question_has_a_starter_and_one_mark(text: str, starter: str, expected: str) -> None:
    assert as_question(text.split(), starter) == expected


def test_questions_begin_in_many_ways() -> None:
    rng = np.random.default_rng(0)
    starters = {question_starter(rng) for _ in range(2_000)}
    assert len(starters) > 10
    for words in sentences(200, low=1):
        question = as_question(words, question_starter(rng))
        assert question.endswith("?") and question[0].isupper()
        assert question.split()[0].lower() in {starter.split()[0].lower() for starter in starters}


def bare(text: str) -> list[str]:
    """Words without case and closing punctuation, which a question changes."""
    return [word.strip(".,;:!?\"'").lower() for word in text.split()]


def test_a_question_is_about_its_sentence_and_asks_for_what_was_taken_out() -> None:
    rng, removed = np.random.default_rng(0), set()
    for words in sentences(1_500, low=1):
        question, rest = ask_about(words, rng)
        taken = len(words) - len(rest)
        if len(words) == 1:
            assert rest == words
        else:
            assert any(rest == words[:i] + words[i + taken :] for i in range(len(rest) + 1)) and 1 <= taken <= 4
        removed.add(taken)
        assert question.endswith("?")
        asked, about = bare(question), bare(" ".join(rest))
        # Behind a starter of one to three words stand words of the rest, one after the other.
        bodies = [asked[i:] for i in (1, 2, 3)]
        assert any(body == about[i : i + len(body)] for body in bodies if body for i in range(len(about))), question
    assert removed == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("1850", ("When", "In what year")),
        ("17", ("How many", "How much")),
        ("stone", ("What", "How", "Why", "Which", "What kind of")),
    ],
)
def test_a_question_asks_for_the_kind_of_what_was_taken_out(text: str, starts: tuple[str, ...]) -> None:
    questions = outcomes(lambda rng: [ask_about([text], rng)[0]])
    assert questions == {f"{start} {text}?" for start in starts}


def test_names_are_asked_for() -> None:
    starters = {
        ask_about(["it", "lies", "near", "Rome"], np.random.default_rng(seed))[0].split()[0] for seed in range(300)
    }
    assert {"Who", "Where"} <= starters


# Other languages than English.

ALL = [*TEXTS, *PHRASES]


def script(text: str) -> set[str]:
    """Scripts of the letters of a text, by the first word of their names."""
    return {unicodedata.name(c).split()[0] for c in text if c.isalpha() and unicodedata.category(c) != "Lm"}


@pytest.mark.parametrize("language", ALL)
def test_perturbation_changes_a_text_and_keeps_its_script(language: str) -> None:
    lines, rng = varied(language, 60), np.random.default_rng(0)
    table = random_words(*word_table(iter(lines), OTHER_RULES), rng)
    changed = [join(perturb_words(units(line), table, rng)) for line in lines]
    known, spaces = script("".join(lines)), "".join(lines).count(" ")
    assert sum(a != b for a, b in zip(lines, changed, strict=True)) > 40
    assert script("".join(changed)) <= known
    # Words of a script without spaces are not parted by any.
    assert (spaces == 0) == ("".join(changed).count(" ") == 0)
    assert all(unit == join(units(unit)) for line in changed for unit in units(line))


@pytest.mark.parametrize("language", ALL)
def test_a_turn_changes_a_text_without_english(language: str) -> None:
    lines, rng = varied(language, 60), np.random.default_rng(1)
    table = random_words(*word_table(iter(lines), OTHER_RULES), rng)
    for line in lines:
        turned = join(turn_meaning(units(line), table, rng, OTHER_RULES))
        assert turned != line and script(turned) <= script("".join(lines))
        assert not {"not", "never"} & set(turned.split())


def test_english_words_are_not_turned_where_the_language_is_another() -> None:
    words = ["man", "was", "in", "die", "war", "and", "no", "first"]
    rng = np.random.default_rng(0)
    found = {" ".join(turn_meaning(words, itertools.repeat("zzzz"), rng, OTHER_RULES)) for _ in range(200)}
    english = {" ".join(turn_meaning(words, itertools.repeat("zzzz"), rng)) for _ in range(200)}
    assert all("not" not in text and "woman" not in text for text in found)
    assert any("not" in text for text in english) and any("woman" in text for text in english)


@pytest.mark.parametrize(
    ("text", "digits"),
    [("سنة ٢٠٠٥ هنا", "٠١٢٣٤٥٦٧٨٩"), ("वर्ष १९४७ में", "०१२३४५६७८९"), ("在２０２４年里", "０１２３４５６７８９")],
)
def test_numbers_stay_in_their_digits(text: str, digits: str) -> None:
    rng, words = np.random.default_rng(0), units(text)
    found = {join(turn_meaning(words, itertools.repeat("x"), rng, OTHER_RULES)) for _ in range(60)}
    numbers = ["".join(c for c in each if c.isdecimal()) for each in found]
    original = "".join(c for c in text if c.isdecimal())
    assert any(number not in ("", original) for number in numbers)
    assert set("".join(numbers)) <= set(digits)


@pytest.mark.parametrize("language", ALL)
def test_a_question_is_a_part_with_the_mark_of_its_script(language: str) -> None:
    rng = np.random.default_rng(2)
    for line in varied(language, 30):
        words = units(line)
        assert question_starter(rng, OTHER_RULES) == ""
        question, rest = ask_about(words, rng, OTHER_RULES)
        assert question[-1] == question_mark(question[:-1]) and core(question[:-1]) == core(question)
        assert core(question) in join(rest) and 0 < len(rest) < len(words)
    assert as_question(["Wer", "kommt", "(heute)."], "what", OTHER_RULES) == "Wer kommt (heute?"


def test_content_words_by_script() -> None:
    assert all(map(is_content, ("Straße,", "강물이", "नदियाँ", "河水。", "น้ำใน", "المدينة")))
    assert not any(map(is_content, ("der", "le", "1999", "的", "(3)", "x-y")))


def test_drawn_words_of_scripts_without_spaces_end_no_sentence() -> None:
    words, _ = word_table(iter(["他走了。我用 Python 写。", "Er ging. Dann kam sie."]), OTHER_RULES)
    assert words == sorted(["Dann", "Er", "Python", "ging.", "kam", "sie.", "他走", "了", "写", "我用"])
