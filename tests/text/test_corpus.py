"""The corpus: distinct sentences, a fingerprint of their content, a cache that never mixes two texts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import prose

from zskd.errors import InputError
from zskd.text import corpus as module
from zskd.text.corpus import MIN_SENTENCES, Corpus, build_corpus
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

    def spy(source: Source) -> Iterator[str]:
        names.append(source.name)
        yield from documents(source)

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


def test_same_bytes_under_another_suffix_are_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", [json.dumps({"text": line}) for line in LINES])
    as_text = build(path, tmp_path / "cache")
    as_json = build(path.rename(tmp_path / "a.jsonl"), tmp_path / "cache")
    assert as_text.sentences["text"][0].startswith("{")
    assert [text for text, _ in rows(as_json)] == LINES


def test_two_configurations_of_one_data_set_are_two_corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"user/text:small": LINES[:250], "user/text:large": LINES}
    monkeypatch.setattr(module, "documents", lambda source: iter(content[source.name]))
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
