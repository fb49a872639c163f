"""Random streams: the numbers they give today, and that no two draw alike, in tables of words and in what is made."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from labelled_rows import prose

from zskd.config.methods.class_balance import ClassBalanceOptions
from zskd.methods.class_balance import ClassBalance
from zskd.methods.step import Step
from zskd.system.seeds import Stream, generator, seed_of
from zskd.tasks.labelled import Labelled
from zskd.tasks.phrases import split_rows
from zskd.text.corpus import build_corpus
from zskd.text.shaping import build_pools
from zskd.text.sources import find_sources
from zskd.training.sampler import LengthGroupedSampler
from zskd.transfer.transfer_set import TransferSet

# The first numbers below 2^32 and the seed for the words 3, 5 and "x". Another number is another student, other pools.
FIRST: dict[str, tuple[list[int], int]] = {
    "TRANSFER": ([3165254863, 2814235381, 365560420], 1783787423),
    "HELDOUT": ([3272704233, 1428381589, 441426953], 1541161713),
    "ASKED": ([1139633665, 3592356135, 1857047840], 951470601),
    "REPETITION": ([3958587964, 1550639853, 3488076968], 2175534416),
    "ROWS": ([3118799881, 997102805, 3963464645], 4038064802),
    "SPLIT": ([2256691425, 3499054027, 2916698343], 2145355459),
    "START": ([2437358743, 3908861738, 3555628639], 1448331073),
    "PRETRAINING": ([3194955030, 3021752908, 434855065], 703685566),
    "MODULES": ([1085315979, 3497626819, 157689597], 395701025),
    "CHANGED": ([2807320194, 1162704438, 2720700440], 3563252139),
    "METHOD": ([3363859901, 3706851909, 691745530], 3385116608),
    "GENERATOR": ([3354209390, 2013128958, 2363897786], 3143344123),
    "WARM_UP": ([2383398973, 3397899056, 3845973748], 2790544227),
    "WRITER": ([824723467, 279900994, 3884292728], 3338478311),
    "REPLAY": ([1659988432, 3152307381, 990660722], 1316985247),
    "SOURCES": ([2634792039, 2158153568, 1823144823], 4073803235),
    "TURNS": ([850658439, 3578049750, 3668734405], 1571720390),
    "NEIGHBOURS": ([3794634012, 3540997164, 419687647], 2995928564),
    "RECIPES": ([3830903205, 918711508, 1306220126], 1092770473),
}
WORDS: list[tuple[int | str, ...]] = [
    (), (0,), (0, 0), (0, 0, 0), (1,), (1, 0), (0, 1), (4, 1), (4, 1, 0), (2**32 - 1,), (2**32,), (2**64,), ("",),
    ("0",), ("1",), ("select",), ("report",), ("one/noise",), ("one", "noise"), ("é",),
    *itertools.product((2, 3), (5, 6), (7, 8)),
]  # fmt: skip


def numbers(rng: np.random.Generator, count: int = 3) -> list[int]:
    return rng.integers(2**32, size=count).tolist()


@pytest.mark.parametrize("name", Stream.__members__)
def test_todays_numbers_stay(name: str) -> None:
    words = (3, 5, "x")
    assert (numbers(generator(Stream[name], *words)), seed_of(Stream[name], *words)) == FIRST[name]


def test_no_two_streams_or_lists_of_words_draw_alike() -> None:
    """NumPy fills lists of words up with zeros, and seeds that are small numbers met those of other streams."""
    uses = list(itertools.product(Stream, WORDS))
    drawn = [numbers(generator(stream, *words)) for stream, words in uses]
    seeds = [seed_of(stream, *words) for stream, words in uses]
    # What a run's seed gives without a stream, as Trainer's does.
    drawn += [numbers(np.random.default_rng(seed)) for seed in range(50)]
    drawn += [numbers(np.random.default_rng([seed, number])) for seed in range(10) for number in range(1, 10)]
    assert len(set(map(tuple, drawn))) == len(drawn)
    assert len(set(seeds)) == len(seeds) and min(seeds) > 50 and max(seeds) < 2**32
    started = [torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist() for seed in [*seeds, *range(50)]]
    assert len(set(map(tuple, started))) == len(started)


def test_words_are_whole_numbers_and_texts() -> None:
    assert numbers(generator(Stream.ROWS, np.int64(3), 5)) == numbers(generator(Stream.ROWS, 3, np.uint8(5)))
    assert seed_of(Stream.START, np.int64(3)) == seed_of(Stream.START, 3) != seed_of(Stream.START, "3")
    for word in (1.0, None, b"x"):
        with pytest.raises(TypeError):
            generator(Stream.ROWS, word)  # type: ignore[arg-type]


def test_what_was_drawn_before_changes_nothing() -> None:
    np.random.seed(0)
    before = numbers(generator(Stream.METHOD, 1, 2))
    np.random.seed(1)
    numbers(generator(Stream.METHOD, 1, 2), count=50)
    assert numbers(generator(Stream.METHOD, 1, 2)) == before


def test_nothing_in_the_package_is_seeded_beside_the_streams(package_sources: dict[str, str]) -> None:
    stray = ("default_rng(", "manual_seed(", "set_seed(", "random.Random(", "np.random.seed(", "RandomState(")
    found = [
        f"{name}: {line.strip()}"
        for name, source in package_sources.items()
        for line in source.splitlines()
        if name != "system/seeds.py" and any(call in line for call in stray) and "seed_of(Stream." not in line
    ]
    assert found == []


@pytest.fixture
def package_sources() -> dict[str, str]:
    import zskd

    folder = Path(zskd.__file__).parent
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.py")}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], list[tuple[int, ...]]]:
    """What the NumPy generators that a function makes would draw first, whoever makes them."""
    made: list[tuple[int, ...]] = []
    original = np.random.default_rng

    def record(seed: object = None) -> np.random.Generator:
        made.append(tuple(numbers(original(seed))))  # type: ignore[arg-type]
        return original(seed)  # type: ignore[arg-type]

    def of(function: Callable[[], object]) -> list[tuple[int, ...]]:
        made.clear()
        with monkeypatch.context() as patched:
            patched.setattr(np.random, "default_rng", record)
            function()
        return list(made)

    return of


@pytest.mark.parametrize("inputs", [("text",), ("text", "text")], ids=["one text", "two texts"])
def test_pools_order_of_rows_repetition_and_split_of_several_seeds_share_no_stream(
    inputs: tuple[str, ...], drawn: Callable[[Callable[[], object]], list[tuple[int, ...]]], tmp_path: Path
) -> None:
    """Seeds 1 and 2 of the transfer pool were the held-out pools' streams; the first epoch and repetition met too."""
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(prose(300)), encoding="utf-8")
    corpus = build_corpus(find_sources([str(path)]), 1.0, tmp_path / "cache")
    logits = np.array([[2.0, 0.0]] * 150 + [[0.0, 2.0]] * 50, dtype=np.float32)
    texts = Dataset.from_dict({"text": [str(i) for i in range(200)], "family": ["sentence"] * 200})
    lines = [f"line {i}" for i in range(40)]

    def pools(seed: int) -> object:
        return build_pools(
            corpus, inputs=inputs, size=64, heldout=16, perturb="random", seed=seed, cache=tmp_path / str(seed)
        )

    def epoch(seed: int, number: int) -> object:
        sampler = LengthGroupedSampler(np.ones(8), 4, seed)
        sampler.set_epoch(number)
        return list(sampler)

    def rest(seed: int) -> None:
        epoch(seed, 0)
        epoch(seed, 1)
        balance = ClassBalance(ClassBalanceOptions(max_class_share=0.5))
        balance.transfer_set(TransferSet.of(texts, logits, ("no", "yes"), seed))
        split_rows(Labelled((lines,), [0] * 40), 8, None, seed)
        step = Step(number=0, total=1, seed=seed, places=np.arange(2), method="own")
        for place in (0, 1):
            for stream in (Stream.METHOD, Stream.WRITER, Stream.REPLAY, Stream.SOURCES):
                step.rng(place, stream)

    of_pools = [drawn(lambda seed=seed: pools(seed)) for seed in range(5)]  # type: ignore[misc]
    assert all(len(made) == 3 for made in of_pools)
    heldout = set(of_pools[0]) & set(of_pools[1])
    assert len(heldout) == 2 and all(heldout < set(made) for made in of_pools), "held-out text is that of every seed"
    transfer = {stream for made in of_pools for stream in made} - heldout
    assert len(transfer) == 5
    more = [stream for seed in range(5) for stream in drawn(lambda seed=seed: rest(seed))]  # type: ignore[misc]
    assert len(set(more) | transfer | heldout) == len(more) + 5 + 2 == 5 * (2 + 1 + 1 + 8) + 7
