"""Wide pairs: what each new family is, their shares, and pools that are the same again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_encoder import GROUPS, corpus, encoder

from zskd.errors import InputError
from zskd.text import wide_pairs
from zskd.text.corpus import Corpus
from zskd.text.nearest import BANDS
from zskd.text.pairs import PERTURBED, pair_texts
from zskd.text.shaping import Pools, build_pools
from zskd.text.synonyms import content_words, overlap_of
from zskd.text.wide_pairs import NEAREST, SYNONYMS, USES, Neighbours, WideSource, wide_pair_texts, wide_shares

NEW = {**SYNONYMS, **NEAREST}
KINDS = [("text", "text"), ("question", "question"), ("question", "passage"), ("passage", "text"), ("text", "question")]
PLAIN = {"part", "overlap", "unrelated"}  # each sentence is a document here, and no word is rare
GROUP_OF = {word: number for number, group in enumerate(GROUPS) for word in group}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Neighbours]:
    """A corpus, and its neighbours; pairs of ``near``, which the small encoder has none of, are given by hand."""
    folder = tmp_path_factory.mktemp("wide")
    found = corpus(folder)
    source = WideSource(found.sentences, found.fingerprint, encoder(), folder)
    neighbours = source.neighbours(np.arange(found.count), KINDS[0])
    assert len(neighbours.words) > 30 and len(neighbours.sentences["nearest"]) > 200
    near = np.array([[i, i + 100] for i in range(0, 100)])
    return found, replace(neighbours, sentences={**neighbours.sentences, "near": near})


@pytest.fixture(scope="module")
def pairs_of(made: tuple[Corpus, Neighbours]) -> Callable[..., list[tuple[str, str, str]]]:
    known: dict[object, list[tuple[str, str, str]]] = {}

    def pairs_of(kinds: tuple[str, str], perturbed: float = 0.62, seed: int = 0) -> list[tuple[str, str, str]]:
        if (key := (kinds, perturbed, seed)) not in known:
            found, neighbours = made
            rows, rng = np.arange(found.count), np.random.default_rng(seed)
            known[key] = list(wide_pair_texts(found.sentences, rows, 1_500, kinds, perturbed, rng, neighbours))
        return known[key]

    return pairs_of


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
def test_new_families_have_their_shares_and_no_pair_has_two_equal_sides(
    kinds: tuple[str, str], pairs_of: Callable
) -> None:
    found = pairs_of(kinds)
    counts = Counter(family for *_, family in found)
    assert counts.total() == 1_500 and counts.keys() >= NEW.keys() | PERTURBED.keys() | PLAIN
    for family, share in NEW.items():
        assert counts[family] / 1_500 == pytest.approx(share, abs=0.03), family
    # The others in their proportions.
    assert sum(counts[family] for family in NEW) / 1_500 == pytest.approx(0.45, abs=0.04)
    assert not [pair for pair in found if pair[2] in NEW and pair[0] == pair[1]]
    assert all(text.strip() for pair in found for text in pair)


def test_without_perturbation_no_new_family_changes_words(pairs_of: Callable) -> None:
    found = Counter(family for *_, family in pairs_of(("text", "text"), 0.0))
    assert found.keys() == NEAREST.keys() | PLAIN
    assert sum(found[family] for family in NEAREST) / 1_500 == pytest.approx(0.14, abs=0.03)


def test_copies_differ_in_words_of_the_same_group_and_share_fewer_words_than_an_edited_copy(pairs_of: Callable) -> None:
    found = [pair for pair in pairs_of(("text", "text")) if pair[2] == "synonym"]
    for left, right, _ in found:
        one, other = left.split(), right.split()
        assert len(one) == len(other)
        changed = [(a, b) for a, b in zip(one, other, strict=True) if a != b and {a, b} != {"a", "an"}]
        assert changed and all(GROUP_OF[a] == GROUP_OF[b] for a, b in changed), (left, right)
    overlaps = np.array([overlap_of(left, right) for left, right, _ in found])
    assert (overlaps <= 0.5).mean() > 0.6 and overlaps.max() <= 0.7, "spread, and never nearly the same"


def test_turned_copies_differ_in_more_and_parts_are_shorter(pairs_of: Callable) -> None:
    turned = [pair for pair in pairs_of(("text", "text")) if pair[2] == "turn_synonym"]

    def groups(text: str) -> list[object]:
        return [GROUP_OF.get(word, word) for word in text.split()]

    assert np.mean([groups(left) != groups(right) for left, right, _ in turned]) > 0.8
    parts = [pair for pair in pairs_of(("text", "text")) if pair[2] == "part_synonym"]
    lengths = np.array([[len(left.split()), len(right.split())] for left, right, _ in parts])
    assert (lengths[:, 0] != lengths[:, 1]).mean() > 0.8
    for left, right, _ in parts:
        short, long = sorted((groups(left), groups(right)), key=len)
        assert any(short == long[i : i + len(short)] for i in range(len(long) - len(short) + 1)) or "an" in left + right


def test_nearest_pairs_are_the_mined_sentences_whole_and_used_no_more_than_allowed(
    made: tuple[Corpus, Neighbours], pairs_of: Callable
) -> None:
    texts = made[0].sentences["text"][:]
    for name in BANDS:
        mined = Counter(frozenset((texts[i], texts[j])) for i, j in made[1].sentences[name])
        used = Counter(frozenset(pair[:2]) for pair in pairs_of(("text", "text")) if pair[2] == name)
        assert used.total() > 60 and used.keys() <= mined.keys() and max(used.values()) <= USES


def test_few_mined_pairs_leave_their_share_to_the_others(made: tuple[Corpus, Neighbours]) -> None:
    sentences = {"near": np.zeros((0, 2), int), "nearest": made[1].sentences["nearest"][:3]}
    few = replace(made[1], sentences=sentences)
    assert wide_shares(600, 0.62, few) == {**SYNONYMS, "nearest": USES * 3 / 600}
    assert wide_shares(600, 0.62, replace(few, words={})) == {"nearest": USES * 3 / 600}
    nothing = Neighbours({}, {name: np.zeros((0, 2), int) for name in BANDS})
    rows = np.arange(made[0].count)
    wide = list(wide_pair_texts(made[0].sentences, rows, 50, KINDS[0], 0.62, np.random.default_rng(0), nothing))
    plain_rng = np.random.default_rng(0).spawn(1)[0]
    assert wide == list(pair_texts(made[0].sentences, rows, 50, KINDS[0], 0.62, plain_rng))


def test_sentences_without_known_words_give_turned_copies_that_are_called_so(made: tuple[Corpus, Neighbours]) -> None:
    unknown = replace(made[1], words={"elsewhere": ["abroad"]})
    rows = np.arange(made[0].count)
    found = list(wide_pair_texts(made[0].sentences, rows, 400, KINDS[0], 0.62, np.random.default_rng(0), unknown))
    counts = Counter(family for *_, family in found)
    assert len(found) == 400 and not counts.keys() & SYNONYMS.keys() and counts["turn"] > 100


def test_the_same_seed_gives_the_same_pairs_and_another_others(made: tuple[Corpus, Neighbours]) -> None:
    rows = np.arange(made[0].count)

    def ask(seed: int) -> list[tuple[str, str, str]]:
        rng = np.random.default_rng(seed)
        return list(wide_pair_texts(made[0].sentences, rows, 300, KINDS[1], 0.62, rng, made[1]))

    assert ask(0) == ask(0) != ask(1)


# Pools.


def build(found: Corpus, cache: Path, **changes: object) -> Pools:
    options = {"inputs": KINDS[0], "size": 300, "heldout": 80, "perturb": "random", "seed": 0, **changes}
    return build_pools(found, cache=cache, **options)  # type: ignore[arg-type]


def test_pools_depend_on_the_encoder_and_are_the_same_again(
    made: tuple[Corpus, Neighbours], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = build(made[0], tmp_path)
    first = build(made[0], tmp_path, encoder=encoder())
    assert len(first.transfer) == 300 and set(first.transfer["family"]) >= {*SYNONYMS, "nearest"}
    assert set(first.report["family"]) & SYNONYMS.keys(), "held-out pairs are of all families too"
    fingerprints = {
        plain.fingerprint,
        first.fingerprint,
        build(made[0], tmp_path, encoder=encoder(1)).fingerprint,
        build(made[0], tmp_path, encoder=encoder(), seed=1).fingerprint,
    }
    assert len(fingerprints) == 4
    assert build(made[0], tmp_path / "anew", encoder=encoder()).fingerprint == first.fingerprint
    # The key names what the families depend on, so that nothing is loaded where the pools are known.
    known = replace(encoder(), load=lambda: pytest.fail("loaded"))
    assert build(made[0], tmp_path, encoder=known).fingerprint == first.fingerprint
    assert len(list((tmp_path / "pools").iterdir())) == 4
    monkeypatch.setattr(wide_pairs, "FORMAT", 0)
    build(made[0], tmp_path, encoder=encoder())
    build(made[0], tmp_path, encoder=replace(encoder(), precision="bf16"))
    assert len(list((tmp_path / "pools").iterdir())) == 6
    assert build(made[0], tmp_path).fingerprint == plain.fingerprint


def test_no_sentence_is_on_two_sides_of_the_split(made: tuple[Corpus, Neighbours], tmp_path: Path) -> None:
    pools = build(made[0], tmp_path, encoder=encoder(), perturb="none")
    whole = set(made[0].sentences["text"][:])
    used = [
        {text for column in ("text", "text_b") for text in pool[column]} & whole
        for pool in (pools.transfer, pools.select, pools.report)
    ]
    assert all(len(texts) > 5 for texts in used)
    assert not used[0] & used[1] and not used[0] & used[2] and not used[1] & used[2]


@pytest.mark.parametrize(
    ("changes", "found"),
    [({"inputs": ("text",)}, "inputs of one text"), ({"language": "de"}, "text in the language de")],
)
def test_an_encoder_without_two_english_texts_is_refused(
    changes: dict, found: str, made: tuple[Corpus, Neighbours], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"--pairs wide: expected two English texts, found {found}"):
        build(made[0], tmp_path, encoder=encoder(), **changes)
    assert not (tmp_path / "pools").exists() and not (tmp_path / "neighbours").exists()


def test_content_words_of_this_corpus_are_those_of_the_groups(made: tuple[Corpus, Neighbours]) -> None:
    assert set().union(*map(content_words, made[0].sentences["text"][:])) == GROUP_OF.keys()
