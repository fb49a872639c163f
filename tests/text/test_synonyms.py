"""Neighbouring words: which there are, which never, and what replacing them leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_encoder import GROUPS, encoder

from zskd.text import synonyms
from zskd.text.synonyms import (
    cached_neighbours,
    content_words,
    neighbouring_words,
    one_word,
    overlap_of,
    replace_words,
    words_in_use,
)

GROUP_OF = {word: number for number, group in enumerate(GROUPS) for word in group}


def states_of(angles: dict[str, float]) -> tuple[list[str], np.ndarray]:
    """Words at angles of a circle, in degrees, with their opposites beside them so that the mean is zero."""
    around = {**angles, **{f"far{chr(97 + i)}": angle + 180 for i, angle in enumerate(angles.values())}}
    turns = np.radians(list(around.values()))
    return list(around), np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def test_neighbours_are_ordered_by_their_cosine_and_end_at_the_least() -> None:
    words, states = states_of({"river": 0, "stream": 30, "brook": 10, "town": 60})
    found = neighbouring_words(words, states)
    # The cosines are 0.98, 0.87 and 0.5.
    assert found["river"] == ["brook", "stream"] and "river" not in found["town"]
    assert found["town"] == ["stream", "brook"]


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("city", "cities"), ("play", "playing"), ("begin", "began"), ("music", "musical"), ("made", "unmade"),
        ("large", "small"), ("wide", "narrow"), ("walk", "strolling"), ("walked", "stroll"), ("quick", "rapidly"),
    ],
)  # fmt: skip
def test_forms_of_a_word_its_opposite_and_other_endings_are_no_neighbours(word: str, other: str) -> None:
    words, states = states_of({word: 0, other: 5, "unlike": 90})
    found = neighbouring_words(words, states)
    assert word not in found and other not in found
    control, states = states_of({"river": 0, "brook": 5, "unlike": 90})
    assert neighbouring_words(control, states)["river"] == ["brook"]


def test_a_table_is_the_same_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    small = encoder()
    words, states = small.words(sorted(GROUP_OF), "words")
    whole = neighbouring_words(words, states)
    monkeypatch.setattr(synonyms, "BLOCK", 7)
    assert neighbouring_words(words, states) == whole


def test_neighbours_of_an_encoder_are_of_the_word_s_group_and_no_function_word_has_any(tmp_path: Path) -> None:
    found = cached_neighbours(encoder(), tmp_path)
    assert len(found) > 30
    for word, others in found.items():
        assert word not in others and {GROUP_OF[other] for other in others} == {GROUP_OF[word]}
    assert "winter" not in found and not found.keys() & synonyms.FUNCTION_WORDS


def test_the_table_is_kept_by_encoder_and_precision_and_made_anew_where_it_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached_neighbours(encoder(), tmp_path)
    cached_neighbours(encoder(seed=1), tmp_path)
    paths = sorted((tmp_path / "neighbours").glob("*/words.arrow"))
    assert len(paths) == 2
    for path in paths:
        path.write_bytes(path.read_bytes()[:-20])
    assert cached_neighbours(encoder(), tmp_path) == first
    assert "does not match its checksum and is made anew" in caplog.text
    monkeypatch.setattr(synonyms, "neighbouring_words", lambda *_: pytest.fail("made again"))
    assert cached_neighbours(encoder(), tmp_path) == first


def test_only_words_that_the_text_has_in_small_letters_replace_others() -> None:
    table = {"river": ["brook", "thames", "stream", "torrent"], "town": ["village"]}
    texts = ["The Thames is a river , a stream .", "no brook, here (torrent)", "a town"]
    assert words_in_use(table, texts) == {"river": ["brook", "stream", "torrent"]}
    many = {"river": [f"w{chr(97 + i)}" for i in range(9)]}
    assert words_in_use(many, [" ".join(many["river"])]) == {"river": many["river"][: synonyms.NEAREST]}


TABLE = {"river": ["brook"], "town": ["hamlet", "village"], "old": ["ancient"], "house": ["abode"]}


def test_words_are_replaced_where_they_stand_with_their_marks_and_articles() -> None:
    rng = np.random.default_rng(0)
    text = "The River : a river, an old town (town)! A house ."
    found = {" ".join(replace_words(text.split(), TABLE, rng) or []) for _ in range(200)}
    for made in found:
        words = made.split()
        assert len(words) == len(text.split()) and made != text
        assert words[:3] == ["The", "River", ":"] and words[4] in ("river,", "brook,")
        assert (words[5], words[6]) in {("an", "old"), ("an", "ancient")}
        assert words[8] in ("(town)!", "(hamlet)!", "(village)!")
    assert any("(village)!" in made and "(hamlet)!" not in made for made in found) and any("brook," in m for m in found)
    assert {replace_words(["a", "house"], TABLE, rng)[0] for _ in range(5)} == {"an"}  # type: ignore[index]


def test_at_least_half_of_the_known_words_are_replaced_and_the_others_kept() -> None:
    rng, row = np.random.default_rng(1), ["river", "the", "town"] * 4
    changed = set()
    for _ in range(200):
        made = replace_words(row, TABLE, rng)
        assert made is not None and made[1::3] == ["the"] * 4
        changed.add(sum(a != b for a, b in zip(row, made, strict=True)))
    assert changed == {4, 5, 6, 7, 8}


def test_a_text_without_known_words_is_said_to_be_such() -> None:
    assert replace_words(["River", "the", "sea"], TABLE, np.random.default_rng(0)) is None


def test_content_words_and_overlap() -> None:
    assert content_words("The river , ( 1913 ) it's THE River-bank !") == {"river", "1913", "it's", "river-bank"}
    assert overlap_of("the river rose", "the river rose") == 1.0
    assert overlap_of("the", "of") == 0.0 and overlap_of("river town", "River house") == pytest.approx(1 / 3)


@pytest.mark.parametrize(("left", "right"), [("town", "house"), ("able", "ability"), ("doctor", "surgeon")])
def test_different_words_are_not_one(left: str, right: str) -> None:
    assert one_word(left, right) == one_word(right, left) is False
