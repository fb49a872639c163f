"""The corpus: distinct sentences, a fingerprint of their content, a cache that never mixes two texts."""

from __future__ import annotations

import json
import logging
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import prose
from languages import PHRASES, TEXTS, varied

from zskd.errors import InputError
from zskd.system.progress import At
from zskd.text import corpus as module
from zskd.text.clean import HEADING, NO_PROSE, SHORT, characters
from zskd.text.corpus import (
    DUPLICATES,
    LEFT_OUT,
    MIN_SENTENCES,
    Corpus,
    build_corpus,
    dropped_words,
    log_corpus,
)
from zskd.text.sources import Source, documents, find_sources

LINES = prose(300)


def write(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def build(path: Path, cache: Path, fraction: float = 1.0) -> Corpus:
    return build_corpus(find_sources([str(path)]), fraction, cache)


def rows(corpus: Corpus) -> list[tuple[str, int]]:
    return list(zip(corpus.sentences["text"], corpus.sentences["document"], strict=True))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the sources that were read."""
    names: list[str] = []

    def spy(source: Source, at: At) -> Iterator[str]:
        names.append(source.name)
        yield from documents(source, at)

    monkeypatch.setattr(module, "documents", spy)
    return names


def test_sentences_keep_their_order_and_their_document(tmp_path: Path) -> None:
    pairs = [f"{a} {b}" for a, b in zip(LINES[::2], LINES[1::2], strict=True)]
    corpus = build(write(tmp_path / "a.txt", pairs), tmp_path / "cache")
    texts, origins = zip(*rows(corpus), strict=True)
    assert list(texts) == LINES
    assert origins[::2] == origins[1::2] and len(set(origins)) == len(pairs)
    assert (corpus.passages, corpus.duplicates) == (150, 0)


def test_duplicates_are_dropped_and_counted(tmp_path: Path) -> None:
    again = [LINES[0], LINES[1].upper(), LINES[2].replace(" ", "  "), LINES[3].rstrip(".") + " !"]
    corpus = build(write(tmp_path / "a.txt", LINES + again), tmp_path / "cache")
    assert [text for text, _ in rows(corpus)] == LINES
    assert (corpus.passages, corpus.duplicates) == (304, 4)
    assert corpus.fingerprint == build(write(tmp_path / "b.txt", LINES), tmp_path / "cache").fingerprint


def test_duplicates_are_found_across_sources(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.txt", LINES[:200])
    write(tmp_path / "in" / "b.txt", LINES[100:])
    corpus = build(tmp_path / "in", tmp_path / "cache")
    assert [text for text, _ in rows(corpus)] == LINES
    assert corpus.duplicates == 100 and len(corpus.sources) == 2


def test_fingerprint_follows_the_content_and_nothing_else(tmp_path: Path) -> None:
    first = build(write(tmp_path / "a.txt", LINES), tmp_path / "one").fingerprint
    same = [build(write(tmp_path / "other" / "name.txt", LINES), tmp_path / "two")]
    jsonl = write(tmp_path / "a.jsonl", [json.dumps({"text": line}) for line in LINES])
    same.append(build(jsonl, tmp_path / "three"))
    assert {corpus.fingerprint for corpus in same} == {first}
    changed = {
        "word": [LINES[0].replace("The", "That"), *LINES[1:]],
        "order": [*LINES[1:], LINES[0]],
        "fewer": LINES[:-1],
        "documents": [f"{LINES[0]} {LINES[1]}", *LINES[2:]],
    }
    found = {build(write(tmp_path / f"{k}.txt", v), tmp_path / "one").fingerprint for k, v in changed.items()}
    assert len(found) == len(changed) and first not in found


def test_fingerprint_does_not_depend_on_the_batch_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.txt", LINES)
    whole = build(path, tmp_path / "one")
    for size in (7, 100):  # 100 divides the number of sentences
        monkeypatch.setattr(module, "ROWS", size)
        parts = build(path, tmp_path / str(size))
        assert parts.fingerprint == whole.fingerprint and rows(parts) == rows(whole)


def test_second_opening_reads_no_source(tmp_path: Path, reads: list[str]) -> None:
    path = write(tmp_path / "a.txt", [*LINES, LINES[0]])
    first = build(path, tmp_path / "cache")
    second = build(path, tmp_path / "cache")
    assert reads == [str(path)]
    assert rows(second) == rows(first)
    assert (second.fingerprint, second.passages, second.duplicates) == (first.fingerprint, 301, 1)
    # The same bytes elsewhere are the same corpus; other bytes at the same place are not.
    assert build(Path(shutil.copy(path, tmp_path / "b.txt")), tmp_path / "cache").fingerprint == first.fingerprint
    assert reads == [str(path)]
    assert build(write(path, LINES[1:]), tmp_path / "cache").fingerprint != first.fingerprint
    assert reads == [str(path)] * 2


def test_a_damaged_copy_is_written_anew(tmp_path: Path, reads: list[str]) -> None:
    path = write(tmp_path / "a.txt", LINES)
    first = build(path, tmp_path / "cache")
    good = rows(first)
    content = first.path.read_bytes()
    first.path.write_bytes(content[: len(content) // 2])
    assert rows(build(path, tmp_path / "cache")) == good
    assert reads == [str(path)] * 2


RECORDS: dict[str, Any] = {
    "empty": b"",
    "cut": lambda record: json.dumps(record).encode()[:-9],
    "a list": b"[]",
    "null": b"null",
    "a number": b"3",
    "no JSON": b"\x00\xff",
    "deep": b"[" * 100_000,
    "a long number": b'{"sentences": ' + b"9" * 5_000 + b"}",
    "one sentence less": lambda record: {**record, "sentences": record["sentences"] - 1},
    "another fingerprint": lambda record: {**record, "fingerprint": "0" * 64},
    "fewer passages": lambda record: {**record, "passages": -1},
    "text for a number": lambda record: {**record, "characters": "9"},
    "true for a number": lambda record: {**record, "passages": True},
    "a missing key": lambda record: {name: record[name] for name in record if name != "dropped"},
    "a list dropped": lambda record: {**record, "dropped": ["repeated"]},
    "nothing dropped": lambda record: {**record, "dropped": {"repeated": None}},
    "half dropped": lambda record: {**record, "dropped": {"repeated": {"parts": 1}}},
}


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("damage", RECORDS.values(), ids=RECORDS)
def test_a_damaged_record_is_written_anew(
    damage: Any, checksum: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a checksum too, as in caches of an earlier version: the numbers have to fit the sentences."""
    path = write(tmp_path / "a.txt", [*LINES, LINES[0]])
    first = build(path, tmp_path / "cache")
    record = first.path.with_name("corpus.json")
    made = damage(json.loads(record.read_bytes())) if callable(damage) else damage
    record.write_bytes(made if isinstance(made, bytes) else json.dumps(made).encode())
    if not checksum:
        for kept in first.path.parent.glob("*.sha256"):
            kept.unlink()
    caplog.clear()
    assert build(path, tmp_path / "cache") == first
    assert f"cache: {record} " in caplog.text and "is made anew" in caplog.text
    caplog.clear()
    assert build(path, tmp_path / "cache") == first and caplog.text == ""


def test_a_corpus_without_checksums_is_used_if_its_sentences_are_whole(tmp_path: Path, reads: list[str]) -> None:
    path = write(tmp_path / "a.txt", LINES)
    first = build(path, tmp_path / "cache")

    def forget() -> None:
        for kept in first.path.parent.glob("*.sha256"):
            kept.unlink()

    forget()
    assert build(path, tmp_path / "cache") == first and reads == [str(path)]
    first.path.with_name("corpus.json.sha256").unlink()
    assert build(path, tmp_path / "cache") == first and reads == [str(path)]
    forget()
    content = first.path.read_bytes()
    at = content.index(LINES[7].encode())
    first.path.write_bytes(content[:at] + b"#" + content[at + 1 :])
    assert rows(build(path, tmp_path / "cache"))[7][0] == LINES[7] and reads == [str(path)] * 2


def test_same_bytes_under_another_suffix_are_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", [json.dumps({"text": line}) for line in LINES])
    as_text = build(path, tmp_path / "cache")
    as_json = build(path.rename(tmp_path / "a.jsonl"), tmp_path / "cache")
    assert as_text.sentences["text"][0].startswith("{")
    assert [text for text, _ in rows(as_json)] == LINES


def test_two_configurations_of_one_data_set_are_two_corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"user/text:small": LINES[:250], "user/text:large": LINES}
    monkeypatch.setattr(module, "documents", lambda source, at: iter(content[source.name]))
    for name, lines in content.items():
        corpus = build_corpus([Source("hub", name, "one-commit")], 1.0, tmp_path)
        assert [text for text, _ in rows(corpus)] == lines, name


def test_a_source_that_breaks_leaves_no_corpus_behind(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*(json.dumps({"text": line}) for line in LINES), "broken"])
    with pytest.raises(InputError, match="line 301"):
        build(path, tmp_path / "cache")
    assert not [item for item in (tmp_path / "cache").rglob("*") if item.is_file()]


@pytest.mark.parametrize("cached", [False, True])
def test_too_small_a_corpus_is_refused(cached: bool, tmp_path: Path) -> None:
    small, enough = (write(tmp_path / f"{n}.txt", LINES[:n]) for n in (MIN_SENTENCES - 1, MIN_SENTENCES))
    assert len(build(enough, tmp_path / "cache").sentences) == MIN_SENTENCES
    for _ in range(1 + cached):
        with pytest.raises(InputError) as caught:
            build(small, tmp_path / "cache")
    for part in ("--corpus", str(small), str(MIN_SENTENCES), str(MIN_SENTENCES - 1)):
        assert part in str(caught.value)


def test_fraction_picks_passages_by_their_hash(tmp_path: Path) -> None:
    lines = prose(1_000)
    path = write(tmp_path / "a.txt", lines)
    half, most, again = (build(path, tmp_path / cache, f) for cache, f in (("a", 0.5), ("a", 0.8), ("b", 0.5)))
    assert rows(half) == rows(again)
    assert set(rows(half)) < set(rows(most)) < set(rows(build(path, tmp_path / "a")))
    assert half.passages == len(lines)
    assert 400 < len(half.sentences) < 600 and 700 < len(most.sentences) < 900
    # Which passages are picked does not depend on their order.
    turned = build(write(tmp_path / "b.txt", lines[::-1]), tmp_path / "a", 0.5)
    assert rows(turned) == rows(half)[::-1]


def test_fraction_that_leaves_too_little_names_its_flag(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--corpus-fraction"):
        build(write(tmp_path / "a.txt", LINES), tmp_path / "cache", 0.1)


# What is dropped, and that it is said.


def test_all_that_was_read_is_kept_or_dropped_for_a_reason(tmp_path: Path) -> None:
    lines = [*LINES, " = A heading = ", LINES[0], "Too short.", "12 34 56 / 78", f"{LINES[1]} So what?"]
    corpus = build(write(tmp_path / "a.txt", lines), tmp_path / "cache")
    assert corpus.dropped == {
        HEADING: {"parts": 1, "characters": 10},
        DUPLICATES: {"parts": 2, "characters": characters(LINES[0] + LINES[1])},
        SHORT: {"parts": 2, "characters": 9 + 7},
        NO_PROSE: {"parts": 1, "characters": 9},
    }
    assert corpus.characters == characters("".join(LINES)) and corpus.duplicates == 2
    lost = sum(found["characters"] for found in corpus.dropped.values())
    assert corpus.characters + lost == characters("".join(lines))
    assert corpus.lost_share == pytest.approx(lost / (lost + corpus.characters))
    again = build(tmp_path / "a.txt", tmp_path / "cache")  # out of the cache
    assert (again.dropped, again.characters) == (corpus.dropped, corpus.characters)
    fraction = build(tmp_path / "a.txt", tmp_path / "cache", 0.9)
    assert fraction.dropped[LEFT_OUT]["parts"] > 10 and fraction.lost_share < 0.1
    left = sum(found["characters"] for found in fraction.dropped.values())
    assert fraction.characters + left == characters("".join(lines))


def test_what_is_dropped_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    few = build(write(tmp_path / "few.txt", [*LINES, "Too short."]), tmp_path / "cache")
    rows = [*LINES, *(f"{i}, {i} 12 34 {i} / {i}, {i} 12 34 {i} / 12" for i in range(900))]
    most = build(write(tmp_path / "most.txt", rows), tmp_path / "cache")
    with caplog.at_level(logging.INFO, logger="zskd"):
        log_corpus(few)
        log_corpus(most, warn=False)
        assert not [record for record in caplog.records if record.levelno > logging.INFO]
        log_corpus(most)
    assert "corpus: 300 sentences; dropped: 1 too short (9 characters)" in caplog.text
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert "% of the characters were dropped: 900 too few letters (" in warning
    assert dropped_words({}) == "nothing"
    left_out = {LEFT_OUT: {"parts": 19881, "characters": 9}}
    assert dropped_words(left_out) == "19,881 passages left out by --corpus-fraction (9 characters)"


def test_too_little_text_says_what_became_of_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        build(write(tmp_path / "a.txt", [*LINES[:10], *["Two words."] * 400, *["x 1 2 3 4"] * 3]), tmp_path / "cache")
    assert "found 10 in 413 passages; dropped: 400 too short (3,600 characters), 3 too few letters (15)" in str(
        caught.value
    )


@pytest.mark.parametrize("language", [*TEXTS, *PHRASES])
def test_text_of_every_language_is_kept(language: str, tmp_path: Path) -> None:
    lines = varied(language, 250)
    corpus = build(write(tmp_path / "a.txt", lines), tmp_path / "cache")
    assert corpus.dropped == {} and corpus.sentences["text"][:] == lines


def test_marks_are_letters_where_two_sentences_are_compared(tmp_path: Path) -> None:
    """Vowel signs of Hindi are not alphanumeric; without them all of these would be one sentence."""
    vowels = "\u093e\u093f\u0940\u0941\u0942\u0947\u0948\u094b\u094c"
    lines = [f"क{a}ल{b}म न{c} च{a}ह{b}त ह{c}।" for a in vowels for b in vowels for c in vowels][:300]
    assert build(write(tmp_path / "a.txt", lines), tmp_path / "cache").count == 300
    # The same letters, composed or not, are the same sentence.
    korean = varied("Korean", 220)
    decomposed = [unicodedata.normalize("NFD", line) for line in korean]
    assert build(write(tmp_path / "b.txt", [*korean, *decomposed]), tmp_path / "cache").duplicates == 220
