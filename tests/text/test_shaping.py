"""Pools of single texts: what they depend on, where texts come from, and that no document is on both sides."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from languages import PHRASES, TEXTS, varied

from zskd.errors import InputError
from zskd.text import shaping
from zskd.text.corpus import Corpus, build_corpus
from zskd.text.shaping import Pools, build_pools, limited_size, split_documents
from zskd.text.sources import find_sources
from zskd.text.words import SPAN_WORDS

TEXT = ("text",)
SIZE, HELDOUT, DOCUMENTS = 900, 120, 400
WHOLE = int(SIZE * shaping.SENTENCE_SHARE)
BASES = ["alder", "birch", "cedar", "maple", "oak", "pine", "poplar", "rowan", "spruce", "willow"]


def origin(word: str) -> str:
    """The document that a word of the corpus below was made for."""
    return word.strip(".").rpartition("z")[2]


def origins(text: str) -> set[str]:
    return {origin(word) for word in text.split()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """400 documents of three sentences; every word names its document, so that any text can be traced."""
    folder, rng, lines = tmp_path_factory.mktemp("shaping"), random.Random(0), []
    names = ["".join(letters) for letters in itertools.product("abcdefghij", repeat=3)][:DOCUMENTS]
    for name in names:
        made = [" ".join(f"{rng.choice(BASES)}z{name}" for _ in range(rng.randint(8, 40))) for _ in range(3)]
        lines.append(" ".join(sentence.capitalize() + "." for sentence in made))
    (folder / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    return build_corpus(find_sources([str(folder / "a.txt")]), 1.0, folder / "cache")


@pytest.fixture(scope="module")
def pools(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Pools]:
    """Pools of each perturbation and two seeds."""
    cache = tmp_path_factory.mktemp("pools")
    return {
        (perturb, seed): build_pools(
            corpus, inputs=TEXT, size=SIZE, heldout=HELDOUT, perturb=perturb, seed=seed, cache=cache
        )
        for perturb in ("none", "random")
        for seed in (0, 1)
    }


def test_corpus_is_what_these_tests_need(corpus: Corpus) -> None:
    assert len(corpus.sentences) == 3 * DOCUMENTS
    assert all(len(origins(text)) == 1 for text in corpus.sentences["text"])


@pytest.mark.parametrize("perturb", ["none", "random"])
def test_same_seed_gives_the_same_pools(perturb: str, corpus: Corpus, pools: dict, tmp_path: Path) -> None:
    again = build_pools(corpus, inputs=TEXT, size=SIZE, heldout=HELDOUT, perturb=perturb, seed=1, cache=tmp_path)
    assert again.fingerprint == pools[perturb, 1].fingerprint
    assert again.transfer["text"][:] == pools[perturb, 1].transfer["text"][:]


def test_every_pool_has_its_own_fingerprint(pools: dict) -> None:
    assert len({made.fingerprint for made in pools.values()}) == len(pools)


@pytest.mark.parametrize("perturb", ["none", "random"])
def test_seed_changes_spans_only(perturb: str, pools: dict) -> None:
    first, other = (pools[perturb, seed] for seed in (0, 1))
    assert first.transfer["text"][:WHOLE] == other.transfer["text"][:WHOLE]
    assert first.transfer["text"][WHOLE:] != other.transfer["text"][WHOLE:]
    for name in ("select", "report"):
        assert getattr(first, name)["text"][:] == getattr(other, name)["text"][:]


def test_perturbation_changes_neither_the_number_of_texts_nor_what_is_held_out(pools: dict) -> None:
    plain, perturbed = pools["none", 0], pools["random", 0]
    assert len(plain.transfer) == len(perturbed.transfer) == SIZE
    assert plain.transfer["text"][:WHOLE] == perturbed.transfer["text"][:WHOLE]
    for name in ("select", "report"):
        assert getattr(plain, name)["text"][:] == getattr(perturbed, name)["text"][:]


def test_whole_sentences_come_first_and_from_all_over_the_corpus(corpus: Corpus, pools: dict) -> None:
    sentences = {text: i for i, text in enumerate(corpus.sentences["text"])}
    places = [sentences[text] for text in pools["random", 0].transfer["text"][:WHOLE]]
    assert places == sorted(set(places))
    assert places[0] < 30 and places[-1] > len(sentences) - 30 and max(np.diff(places)) < 30


def test_unperturbed_texts_are_contiguous_parts_of_sentences(corpus: Corpus, pools: dict) -> None:
    of_document: dict[str, list[str]] = {}
    for text in corpus.sentences["text"]:
        of_document.setdefault(origin(text), []).append(f" {text} ")
    made = pools["none", 0]
    for text in [*made.transfer["text"], *made.select["text"], *made.report["text"]]:
        assert any(f" {text} " in sentence for sentence in of_document[origin(text)]), text
    low, high = SPAN_WORDS
    lengths = {len(text.split()) for text in made.transfer["text"][WHOLE:]}
    assert min(lengths) >= low and max(lengths) <= high and len(lengths) > 15


def test_random_texts_are_mostly_changed_and_never_empty(corpus: Corpus, pools: dict) -> None:
    spans = pools["random", 0].transfer["text"][WHOLE:]
    assert all(text.strip() for text in spans)
    mixed = sum(len(origins(text)) > 1 for text in spans)  # words from elsewhere were put in
    assert 0.5 * len(spans) < mixed < len(spans)


@pytest.mark.parametrize("key", list(itertools.product(("none", "random"), (0, 1))))
def test_no_document_is_in_two_pools(key: tuple[str, int], pools: dict) -> None:
    used = {
        name: set().union(*map(origins, getattr(pools[key], name)["text"])) for name in ("transfer", "select", "report")
    }
    assert all(used.values())
    for left, right in itertools.combinations(used, 2):
        assert not used[left] & used[right], (left, right)


def test_heldout_texts_are_sentences_and_their_spans(corpus: Corpus, pools: dict) -> None:
    sentences = set(corpus.sentences["text"])
    for name in ("select", "report"):
        texts = getattr(pools["random", 0], name)["text"][:]
        assert HELDOUT // 8 < len(texts) <= HELDOUT // 2
        whole, spans = texts[: (len(texts) + 1) // 2], texts[(len(texts) + 1) // 2 :]
        assert len(set(whole)) == len(whole) and set(whole) <= sentences
        assert all(f" {span} " in f" {sentence} " for sentence, span in zip(whole, spans, strict=False))


@pytest.mark.parametrize("perturb", ["none", "random"])
def test_family_says_what_was_done_to_a_text(perturb: str, corpus: Corpus, pools: dict) -> None:
    made, sentences = pools[perturb, 0], set(corpus.sentences["text"])
    span = "span" if perturb == "none" else "perturbed span"
    assert made.transfer["family"][:] == ["sentence"] * WHOLE + [span] * (SIZE - WHOLE)
    for pool in (made.select, made.report):
        assert set(pool["family"]) == {"sentence", "span"}
        assert all(text in sentences for text, name in zip(pool["text"], pool["family"], strict=True) if name != "span")


def test_spans_of_a_question_task_are_questions(corpus: Corpus, pools: dict, tmp_path: Path) -> None:
    made = build_pools(
        corpus, inputs=("question",), size=SIZE, heldout=HELDOUT, perturb="random", seed=0, cache=tmp_path
    )
    for pool, plain in ((made.transfer, pools["random", 0].transfer), (made.select, pools["random", 0].select)):
        spans = [text for text, name in zip(pool["text"], pool["family"], strict=True) if name != "sentence"]
        assert spans and all(text.endswith("?") for text in spans)
        assert len(pool) == len(plain)
    assert not any(text.endswith("?") for text in pools["random", 0].transfer["text"])


def test_cached_pools_are_not_shaped_again(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> Pools:
        return build_pools(corpus, inputs=TEXT, size=90, heldout=60, perturb="random", seed=0, cache=tmp_path)

    first = build()
    with monkeypatch.context() as patch:
        patch.delattr(shaping, "split_documents")
        assert build().fingerprint == first.fingerprint
    next(tmp_path.rglob("report.arrow")).unlink()
    assert build().fingerprint == first.fingerprint
    damaged = next(tmp_path.rglob("transfer.arrow"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert build().fingerprint == first.fingerprint
    for name in ("transfer", "select", "report"):
        damaged = next(tmp_path.rglob(f"{name}.arrow"))
        content = damaged.read_bytes()
        at = content.index(getattr(first, name)["text"][5].encode())
        damaged.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        others = {path: path.stat().st_mtime_ns for path in damaged.parent.glob("*.arrow") if path != damaged}
        again = build()
        assert again.fingerprint == first.fingerprint and damaged.read_bytes() == content
        assert others == {path: path.stat().st_mtime_ns for path in others}, "only the damaged one is shaped"


def test_small_corpus_fills_a_large_pool(corpus: Corpus, tmp_path: Path) -> None:
    made = build_pools(corpus, inputs=TEXT, size=9_000, heldout=10**6, perturb="random", seed=0, cache=tmp_path)
    assert len(made.transfer) == 9_000
    transferred = set(corpus.sentences["text"]) & set(made.transfer["text"])
    limit = 1.5 * shaping.HELDOUT_LIMIT * len(corpus.sentences)
    assert len(transferred) > len(corpus.sentences) - limit
    assert 0 < len(made.select) <= 2 * limit and 0 < len(made.report) <= 2 * limit


@pytest.mark.parametrize(
    ("asked", "sentences", "size"),
    [
        (270_000, 240, 240 * shaping.INPUTS_PER_SENTENCE),
        (90_000, 2_249, 89_960),
        (90_000, 2_250, 90_000),
        (640, 200, 640),
        # What was measured: embedded text, its smoke run, and the largest pool from Wikipedia.
        (180_000, 15_088, 180_000),
        (9_000, 700, 9_000),
        (480_000, 30_222, 480_000),
    ],
)
def test_little_text_limits_a_pool(asked: int, sentences: int, size: int) -> None:
    assert limited_size(asked, sentences) == size


def test_one_document_cannot_be_split(tmp_path: Path) -> None:
    words = [f"{a} {b} {c} stood there." for a, b, c in itertools.permutations(BASES, 3)]
    (tmp_path / "a.txt").write_text(" ".join(text.capitalize() for text in words), encoding="utf-8")
    corpus = build_corpus(find_sources([str(tmp_path / "a.txt")]), 1.0, tmp_path)
    with pytest.raises(InputError, match="--corpus"):
        build_pools(corpus, inputs=TEXT, size=100, heldout=40, perturb="none", seed=0, cache=tmp_path)


def test_split_is_a_function_of_the_document_alone() -> None:
    rng = np.random.default_rng(0)
    unique = rng.integers(0, 2**64, size=5_000, dtype=np.uint64)
    parts = split_documents(unique, 0.2)
    shares = np.bincount(parts, minlength=3) / len(unique)
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.02)
    shuffled = rng.permutation(len(unique))
    np.testing.assert_array_equal(split_documents(np.tile(unique[shuffled], 2), 0.2), np.tile(parts[shuffled], 2))
    np.testing.assert_array_equal(split_documents(unique[:50], 0.2), parts[:50])
    wider = split_documents(unique, 0.4)
    assert (wider[parts > 0] > 0).all()
    assert not split_documents(unique, 0.0).any()


@pytest.mark.parametrize("language", [*TEXTS, *PHRASES])
def test_texts_of_every_language(language: str, tmp_path: Path) -> None:
    lines = varied(language, 250)
    (tmp_path / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    corpus = build_corpus(find_sources([str(tmp_path / "a.txt")]), 1.0, tmp_path)
    options = {"inputs": TEXT, "size": 300, "heldout": 60, "seed": 0, "cache": tmp_path}
    plain, changed = (
        build_pools(corpus, perturb=perturb, language="other", **options)  # type: ignore[arg-type]
        for perturb in ("none", "random")
    )
    whole = set(lines)
    for text, family in zip(plain.transfer["text"], plain.transfer["family"], strict=True):
        # A part of a text, without a space that the text does not have there.
        assert text in whole if family == "sentence" else any(text in line for line in lines)
    assert plain.report["text"] == changed.report["text"]
    assert len(set(changed.transfer["text"]) - set(plain.transfer["text"])) > 150
    lengths = [len(text) for text in plain.transfer["text"]]
    assert len(set(lengths)) > 5


def test_english_pools_do_not_depend_on_how_the_language_was_found(corpus: Corpus, tmp_path: Path) -> None:
    options = {"inputs": TEXT, "size": 200, "heldout": 40, "perturb": "random", "seed": 0, "cache": tmp_path}
    default = build_pools(corpus, **options).fingerprint  # type: ignore[arg-type]
    assert build_pools(corpus, language="en", **options).fingerprint == default  # type: ignore[arg-type]
    assert build_pools(corpus, language="en-GB", **options).fingerprint == default  # type: ignore[arg-type]
    assert len(list((tmp_path / "pools").iterdir())) == 1
    build_pools(corpus, language="de", **options)  # type: ignore[arg-type]
    build_pools(corpus, language="other", **options)  # type: ignore[arg-type]
    assert len(list((tmp_path / "pools").iterdir())) == 2
