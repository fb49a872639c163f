"""From raw passages to sentences: where they are split, and what is not prose."""

from __future__ import annotations

import pytest
from conftest import prose

from zskd.text.clean import MAX_WORDS, is_prose, sentences, split_sentences

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
