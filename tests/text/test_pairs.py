"""Pairs: which sentence each side comes from, what a family means, and what held-out pairs depend on."""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from languages import PHRASES, TEXTS, varied
from traced import DOCUMENTS, SENTENCES, TOPICS, origins, sentence, sides

from zskd.tasks.task_file import INPUT_KINDS
from zskd.text import pairs
from zskd.text.corpus import Corpus, build_corpus
from zskd.text.language import OTHER_RULES
from zskd.text.pairs import (
    PERTURBED,
    PERTURBED_SHARE,
    STRUCTURAL,
    PairShaper,
    family_shares,
    pair_texts,
    perturbed_share,
)
from zskd.text.scripts import question_mark
from zskd.text.shaping import Pools, build_pools
from zskd.text.sources import find_sources

KINDS = [kinds for kinds in itertools.product(INPUT_KINDS, repeat=2) if kinds != ("passage", "passage")]
every_kind = pytest.mark.parametrize("kinds", KINDS, ids="-".join)
# Share of pairs whose words are changed, the same for all kinds here.
SHARES = {"none": 0.0, "random": PERTURBED_SHARE}
every_perturbation = pytest.mark.parametrize("perturb", ["none", "random"])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """300 documents of four sentences; any word tells its document, its sentence and its place in that."""
    folder, rng = tmp_path_factory.mktemp("pairs"), random.Random(0)
    lines = [" ".join(sentence(d, s, rng) for s in range(SENTENCES)) for d in range(DOCUMENTS)]
    (folder / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    return build_corpus(find_sources([str(folder / "a.txt")]), 1.0, folder / "cache")


def test_corpus_is_what_these_tests_need(corpus: Corpus) -> None:
    assert len(corpus.sentences) == DOCUMENTS * SENTENCES
    for text in corpus.sentences["text"]:
        assert len(sides(text)) == 1 and len(origins(text)) == len(text.split()) - 1


def build(corpus: Corpus, kinds: tuple[str, str], cache: Path, **changes: object) -> Pools:
    options = {"size": 700, "heldout": 200, "perturb": "random", "seed": 0, **changes}
    return build_pools(corpus, inputs=kinds, cache=cache, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pools(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[tuple[str, str], str], Pools]:
    """Pools of all kinds, perturbed and not."""
    cache = tmp_path_factory.mktemp("pools")
    return {
        (kinds, perturb): build(corpus, kinds, cache, perturb=perturb)
        for kinds in KINDS
        for perturb in ("none", "random")
    }


def rows(pool: object) -> list[tuple[str, str, str]]:
    """Rows (text, text_b, family) of a pool."""
    return list(zip(*(pool[name][:] for name in ("text", "text_b", "family")), strict=True))  # type: ignore[index]


@pytest.fixture(scope="module")
def pairs_of(corpus: Corpus) -> Callable[[tuple[str, str], str], list[tuple[str, str, str]]]:
    """Two pairs of each sentence of the corpus: enough for every family to be among them often."""
    texts, documents = corpus.sentences["text"][:], corpus.sentences["document"][:]
    following = [
        text if document == other else None
        for text, document, other in zip([*texts[1:], ""], documents, [*documents[1:], None], strict=True)
    ]

    @functools.cache
    def pairs_of(kinds: tuple[str, str], perturb: str) -> list[tuple[str, str, str]]:
        table = (f"new{i}" for i in itertools.count())
        shaper = PairShaper(kinds, SHARES[perturb], table, np.random.default_rng(0))
        return [pair for _ in range(2) for pair in shaper.block(texts, following)]

    return pairs_of


# What a pool depends on.


@every_kind
def test_the_same_options_give_the_same_pairs_and_others_give_others(
    kinds: tuple[str, str], corpus: Corpus, pools: dict, tmp_path: Path
) -> None:
    first = pools[kinds, "random"]
    assert build(corpus, kinds, tmp_path / "again").fingerprint == first.fingerprint
    turned = kinds[::-1] if kinds[0] != kinds[1] else ("passage", kinds[1])
    others = [
        build(corpus, turned, tmp_path / "kinds"),
        build(corpus, kinds, tmp_path, size=701),
        build(corpus, kinds, tmp_path, perturb="none"),
        build(corpus, kinds, tmp_path, seed=1),
    ]
    transfers = [rows(made.transfer) for made in (first, *others)]
    assert all(left != right for left, right in itertools.combinations(transfers, 2))
    assert len({made.fingerprint for made in (first, *others)}) == len(others) + 1


def test_another_corpus_gives_other_pairs(corpus: Corpus, pools: dict, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    rng = random.Random(1)
    lines = [" ".join(sentence(d, s, rng) for s in range(SENTENCES)) for d in range(DOCUMENTS)]
    other.write_text("\n".join(lines), encoding="utf-8")
    changed = build_corpus(find_sources([str(other)]), 1.0, tmp_path)
    kinds = KINDS[0]
    assert rows(build(changed, kinds, tmp_path).transfer) != rows(pools[kinds, "random"].transfer)


@every_kind
def test_heldout_pairs_are_the_same_whatever_the_perturbation_and_the_seed(
    kinds: tuple[str, str], corpus: Corpus, pools: dict, tmp_path: Path
) -> None:
    others = [build(corpus, kinds, tmp_path, seed=5), build(corpus, kinds, tmp_path, perturb="none", seed=6)]
    for name in ("select", "report"):
        first = rows(getattr(pools[kinds, "random"], name))
        assert 0 < len(first) <= 100
        for other in (*others, pools[kinds, "none"]):
            assert rows(getattr(other, name)) == first
        assert {family for *_, family in first} >= {"edit", "turn", "part"}, "perturbed families too"


@every_kind
@every_perturbation
def test_no_document_is_on_two_sides_of_the_split(kinds: tuple[str, str], perturb: str, pools: dict) -> None:
    made = pools[kinds, perturb]
    used = {
        name: [{origin[0] for text in getattr(made, name)[column] for origin in origins(text)} for column in columns]
        for name, columns in itertools.product(("transfer", "select", "report"), [("text", "text_b")])
    }
    for name, (first, second) in used.items():
        assert len(first) > 10 and len(second) > 10, name
    for left, right in itertools.combinations(used, 2):
        assert not set.union(*used[left]) & set.union(*used[right]), (left, right)


@every_kind
@every_perturbation
def test_pools_have_the_size_that_was_asked_for_and_no_empty_text(
    kinds: tuple[str, str], perturb: str, pools: dict
) -> None:
    made = pools[kinds, perturb]
    assert len(made.transfer) == 700
    assert made.transfer.column_names == ["text", "text_b", "family"]
    for pool in (made.transfer, made.select, made.report):
        for first, second, _ in rows(pool):
            assert re.search(r"\w", first) and re.search(r"\w", second)


@every_perturbation
def test_pairs_come_from_the_rows_that_were_given(perturb: str, corpus: Corpus) -> None:
    given = np.arange(400, 480)
    made = list(pair_texts(corpus.sentences, given, 300, KINDS[0], SHARES[perturb], np.random.default_rng(0)))
    assert len(made) == 300
    used = {origin[0] for first, second, _ in made for origin in (*origins(first), *origins(second))}
    assert used <= set(range(100, 120)) and len(used) > 15


# What families mean. In these the second text is another sentence's.
OTHERS = {"adjacent", "related", "unrelated"}


@every_kind
@every_perturbation
def test_families_have_nearly_the_stated_shares(kinds: tuple[str, str], perturb: str, pairs_of: Callable) -> None:
    stated = family_shares(kinds, SHARES[perturb])
    mixed = {"mixed"} if perturb == "random" and kinds == ("text", "text") else set()
    assert stated.keys() == (STRUCTURAL if perturb == "none" else PERTURBED | STRUCTURAL).keys() | mixed
    assert sum(stated.values()) == pytest.approx(1.0)
    assert sum(stated.get(family, 0.0) for family in PERTURBED) == pytest.approx(SHARES[perturb])
    # The last sentence of a document has none after it; its pair is then of two unrelated sentences.
    last = stated["adjacent"] / SENTENCES
    stated["adjacent"] -= last
    stated["unrelated"] += last
    made = Counter(family for *_, family in pairs_of(kinds, perturb))
    assert made.keys() == stated.keys()
    for family, share in stated.items():
        assert made[family] / made.total() == pytest.approx(share, abs=0.035), family


@every_kind
def test_pools_have_the_share_of_perturbed_pairs_of_their_kinds(kinds: tuple[str, str], pools: dict) -> None:
    made = pools[kinds, "random"]
    for pool, share in ((made.transfer, perturbed_share(kinds)), (made.report, PERTURBED_SHARE)):
        found = [family in PERTURBED for family in pool["family"]]
        assert sum(found) / len(found) == pytest.approx(share, abs=0.15 if len(found) < 200 else 0.06)


@every_kind
def test_unperturbed_texts_have_the_words_of_one_sentence_or_of_it_and_the_next(
    kinds: tuple[str, str], pairs_of: Callable, pools: dict
) -> None:
    made = [*pairs_of(kinds, "none"), *rows(pools[kinds, "none"].transfer)]
    assert {family for *_, family in made} == set(STRUCTURAL)
    in_context = 0
    # In a question whose answer was taken out the words on both sides of it stand together.
    gap = 5 if "passage" in kinds else 1
    for kind, text in ((kind, text) for pair in made for kind, text in zip(kinds, pair, strict=False)):
        found = origins(text)
        assert len({document for document, *_ in found}) <= 1
        runs = [(place, [p for *_, p in run]) for place, run in itertools.groupby(found, key=lambda origin: origin[1])]
        for _, places in runs:
            steps = {after - before for before, after in itertools.pairwise(places)}
            assert steps <= set(range(1, gap + 1 if kind == "question" else 2)), text
        if len(runs) > 1:
            assert kind == "passage" and len(runs) == 2 and abs(runs[0][0] - runs[1][0]) == 1
            assert len(text.split()) <= pairs.PASSAGE_WORDS
            in_context += 1
    assert (in_context > 100) == ("passage" in kinds)


@pytest.mark.parametrize("kinds", [("passage", "text"), ("passage", "passage")], ids="-".join)
def test_context_is_of_the_passages_own_document_and_never_the_second_text(
    kinds: tuple[str, str], pairs_of: Callable
) -> None:
    in_context = Counter()
    for *texts, family in pairs_of(kinds, "none"):
        about = [sides(text) for text in texts]
        assert all(len({document for document, _ in found}) <= 1 for found in about)
        if family == "adjacent":
            assert not about[0] & about[1]
        in_context[family] += any(len(found) == 2 for found in about)
    assert in_context["adjacent"] == 0 and in_context["related"] > 20 and in_context["part"] > 20


@every_perturbation
def test_related_and_unrelated_texts_come_from_two_sentences_where_a_block_repeats_them(
    perturb: str, corpus: Corpus
) -> None:
    # Of 20 documents 80 sentences, drawn 2,000 times.
    given = np.arange(400, 480)
    made = Counter()
    for *texts, family in pair_texts(
        corpus.sentences, given, 2_000, ("text", "text"), SHARES[perturb], np.random.default_rng(0)
    ):
        left, right = map(sides, texts)
        if family in ("related", "unrelated") and len(left) == len(right) == 1:
            made[family] += 1
            assert left != right, texts
    assert made["unrelated"] > 50


def test_mixed_texts_have_words_of_two_sentences_and_some_in_common(pairs_of: Callable) -> None:
    common, related = [], []
    for *texts, family in pairs_of(("text", "text"), "random"):
        if family == "mixed":
            left, right = (set(origins(text)) for text in texts)
            common.append(len(left & right) / max(1, min(len(left), len(right))))
            owners = [sides(text) for text in texts]
            if len(owners[0]) == 1 and len(owners[1]) == 2:
                assert owners[0] < owners[1]
                (other,) = owners[1] - owners[0]
                related.append(next(iter(owners[0]))[0] % TOPICS == other[0] % TOPICS)
    assert len(common) > 100
    assert sum(0 < share < 1 for share in common) > 0.7 * len(common)
    assert min(common) < 0.3 and max(common) > 0.6
    assert 0.4 < sum(related) / len(related) < 0.9


def contiguous(part: list[str], whole: list[str]) -> bool:
    return any(part == whole[i : i + len(part)] for i in range(len(whole) - len(part) + 1))


@pytest.mark.parametrize("kinds", [kinds for kinds in KINDS if set(kinds) != {"question", "passage"}], ids="-".join)
@every_perturbation
def test_a_part_is_a_contiguous_part(kinds: tuple[str, str], perturb: str, pairs_of: Callable) -> None:
    longer = 0
    found = [pair[:2] for pair in pairs_of(kinds, perturb) if pair[2] == "part"]
    for texts in found:
        if "question" in kinds:  # without the starters, case and marks
            texts = tuple(" ".join(re.findall(r"topic\w+|new\d+|\w+z\w+", text.lower())) for text in texts)
        short, long = sorted((text.split() for text in texts), key=len)
        assert contiguous(short, long), texts
        longer += len(long) > len(short)
    # Perturbation may leave a single word, of which every part is the whole.
    assert longer > 0.95 * len(found) > 40


@every_perturbation
def test_overlapping_texts_are_two_large_parts_of_one(perturb: str, pairs_of: Callable) -> None:
    shared = []
    for *texts, family in pairs_of(("text", "text"), perturb):
        if family == "overlap":
            first, second = (text.split() for text in texts)
            common = [first[i:] for i in range(len(first)) if first[i:] == second[: len(first) - i]]
            common += [second[i:] for i in range(len(second)) if second[i:] == first[: len(second) - i]]
            within = contiguous(first, second) or contiguous(second, first)
            shared.append(bool(common) or within)
    assert len(shared) > 100 and sum(shared) > 0.9 * len(shared)


@every_kind
def test_adjacent_texts_come_from_two_sentences_in_a_row(
    kinds: tuple[str, str], pairs_of: Callable, pools: dict
) -> None:
    steps: Counter[int] = Counter()
    for *texts, family in (*pairs_of(kinds, "none"), *rows(pools[kinds, "none"].transfer)):
        left, right = (sorted(sides(text)) for text in texts)
        if family == "adjacent" and left and right:  # else a question about the topic word alone
            ((document, place),), ((other, after),) = left, right
            assert document == other
            steps[after - place] += 1
    assert steps.total() > 100
    if kinds == ("text", "text"):
        assert set(steps) == {-1, 1} and steps[1] > steps[-1] > 10, "sides are exchanged now and then"
    elif kinds == ("question", "question"):
        assert set(steps) == {-1, 1} and steps[1] > steps[-1] > 10
    else:
        first = (("question", "passage"), ("passage", "text"), ("text", "question"))
        assert set(steps) == {1 if kinds in first else -1}


@every_kind
def test_related_texts_come_from_two_sentences_that_share_a_word(kinds: tuple[str, str], pairs_of: Callable) -> None:
    alike: dict[str, list[bool]] = {"related": [], "unrelated": []}
    for *texts, family in pairs_of(kinds, "none"):
        left, right = (sorted(sides(text)) for text in texts)
        if family in alike and left and right:
            alike[family].append(left[0][0] % TOPICS == right[0][0] % TOPICS)
            assert family != "related" or left[0] != right[0]
    assert len(alike["related"]) > 50 and all(alike["related"])
    assert len(alike["unrelated"]) > 50 and sum(alike["unrelated"]) < 0.1 * len(alike["unrelated"])


@every_perturbation
@every_kind
def test_questions_end_in_a_question_mark_and_nothing_else_does(
    kinds: tuple[str, str], perturb: str, pools: dict
) -> None:
    made = pools[kinds, perturb]
    for pool in (made.transfer, made.select, made.report):
        for kind, column in zip(kinds, ("text", "text_b"), strict=True):
            for text in pool[column]:
                assert text.endswith("?") == (kind == "question"), text
                assert text.count("?") <= 1


QUESTION_AND_PASSAGE = [("question", "passage"), ("passage", "question")]


@pytest.mark.parametrize("kinds", QUESTION_AND_PASSAGE, ids="-".join)
@every_perturbation
def test_a_question_is_about_its_passage(kinds: tuple[str, str], perturb: str, pairs_of: Callable) -> None:
    about: dict[str, list[bool]] = {}
    for *texts, family in pairs_of(kinds, perturb):
        question, passage = (set(origins(text)) for text in (texts if kinds[0] == "question" else reversed(texts)))
        if question:  # else it is about the topic word alone, or about words that were put in
            about.setdefault(family, []).append(question <= passage)
    unrelated = about.pop("unrelated")
    assert sum(unrelated) < 0.05 * len(unrelated)
    for family in ("adjacent", "related"):
        assert not any(about.pop(family))
    for family in STRUCTURAL.keys() - OTHERS:
        assert all(about.pop(family)), "each word of the question stands in the passage"
    # Where the passage was changed most of the question's words are still there.
    assert about.keys() == (PERTURBED.keys() if perturb == "random" else set())
    for found in about.values():
        assert len(found) > 100 and sum(found) > len(found) / 4


@pytest.mark.parametrize("kinds", QUESTION_AND_PASSAGE, ids="-".join)
def test_part_families_of_questions_take_the_answer_out(kinds: tuple[str, str], pairs_of: Callable) -> None:
    holes: dict[str, list[bool]] = {"turn": [], "part_turn": []}
    for *texts, family in pairs_of(kinds, "random"):
        if family in holes:
            passage = texts[1 - kinds.index("question")]
            places = [sorted(p for *_, p in run) for _, run in itertools.groupby(origins(passage), lambda o: o[:2])]
            holes[family].append(any(b - a > 1 for run in places for a, b in itertools.pairwise(run)))
    shares = {family: sum(found) / len(found) for family, found in holes.items()}
    assert shares["part_turn"] > shares["turn"] + 0.2


def test_an_edited_or_turned_copy_is_another_text_of_the_same_sentence(pairs_of: Callable) -> None:
    found: dict[str, list[tuple[str, str]]] = {"edit": [], "turn": []}
    for *texts, family in pairs_of(("text", "text"), "random"):
        if family in found and all(map(sides, texts)):
            found[family].append(tuple(texts))
    for texts in found.values():
        assert sum(bool(sides(a) & sides(b)) for a, b in texts) > 0.95 * len(texts) > 300
    assert sum(a != b for a, b in found["edit"]) > 0.8 * len(found["edit"])
    assert all(a != b and abs(len(a.split()) - len(b.split())) <= 1 for a, b in found["turn"])


def test_unperturbed_texts_are_cut_to_the_stated_lengths(pairs_of: Callable) -> None:
    def lengths(kinds: tuple[str, str], side: int) -> set[int]:
        return {len(pair[side].split()) for pair in pairs_of(kinds, "none") if pair[2] in OTHERS}

    low, high = pairs.SENTENCE_WORDS
    assert lengths(("text", "text"), 0) == set(range(low, high + 1))
    low, high = pairs.PART_WORDS
    assert lengths(("passage", "text"), 1) == set(range(low, high + 1))
    assert max(lengths(("passage", "text"), 0)) == pairs.PASSAGE_WORDS


# Other languages than English.


@pytest.mark.parametrize("language", [*TEXTS, *PHRASES])
def test_pairs_of_every_language(language: str, tmp_path: Path) -> None:
    made = varied(language, 440)
    lines = [" ".join(pair) for pair in zip(made[::2], made[1::2], strict=True)]
    if language in ("Chinese", "Japanese"):
        lines = [line.replace("。 ", "。") for line in lines]
    (tmp_path / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    corpus = build_corpus(find_sources([str(tmp_path / "a.txt")]), 1.0, tmp_path)
    options = {"size": 300, "heldout": 60, "perturb": "random", "seed": 0, "cache": tmp_path}
    letters = {c for line in lines for c in line} | {*map(str, range(10)), *" .?!"}
    for kinds in (("text", "text"), ("question", "passage"), ("question", "question"), ("passage", "text")):
        pools = build_pools(corpus, inputs=kinds, language="other", **options)  # type: ignore[arg-type]
        made = rows(pools.transfer)
        assert len(made) == 300 and all(text.strip() and other.strip() for text, other, _ in made)
        stated = family_shares(kinds, perturbed_share(kinds))
        assert {family for *_, family in made} <= stated.keys()
        assert len(Counter(made)) > 250 and sum(a != b for a, b, _ in made) > 0.85 * len(made)
        for pair in made:
            for kind, text in zip(kinds, pair, strict=False):
                assert set(text) <= letters | {question_mark(text)}
                if kind == "question":
                    assert text.endswith(question_mark(text))
        assert rows(build_pools(corpus, inputs=kinds, language="de", **options).transfer) == made  # type: ignore[arg-type]


def test_chinese_sentences_on_a_topic_are_found() -> None:
    texts = ["昨天夜里河水涨得很高。", "老人在山上种茶很多年。", "今年河水比去年更清。"]
    table = iter(())
    shaper = PairShaper(("text", "text"), 0.0, table, np.random.default_rng(0), OTHER_RULES)
    related = {pair[:2] for _ in range(60) for pair in shaper.block(texts, [None] * 3) if pair[2] == "related"}
    assert related and all({"河", "水"} & set(a) & set(b) for a, b in related)
