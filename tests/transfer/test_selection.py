"""Which labelled inputs stay: by confidence, by the balance of the predicted classes, or all of them."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from zskd.errors import InputError
from zskd.metrics.scores import probabilities
from zskd.transfer.selection import MIN_ROWS, Selection, select, teacher_logits

NAMES = ("zero", "one", "two")


def logits_of(counts: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Shuffled logits whose largest class is i in `counts[i]` rows."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    logits = rng.normal(size=(len(classes), len(counts))).astype(np.float32)
    logits[np.arange(len(classes)), classes] = logits.max(axis=1) + rng.exponential(1.0, len(classes)) + 1e-3
    return logits


def choose(logits: np.ndarray, confidence: float = 0.0, share: float = 1.0, seed: int = 0) -> Selection:
    return select(
        logits, NAMES[: logits.shape[1]], min_confidence=confidence, max_class_share=share, seed=seed
    )  # fmt: skip


def test_neutral_settings_keep_every_row() -> None:
    logits = logits_of((900, 100))
    np.testing.assert_array_equal(choose(logits).rows, np.arange(len(logits)))


def test_confidence_is_monotone_and_exact() -> None:
    logits = logits_of((500, 300, 200))
    confidence = probabilities(logits).max(axis=1)
    kept = {level: choose(logits, level).rows for level in (0.0, 0.4, 0.6, 0.8)}
    for level, rows in kept.items():
        np.testing.assert_array_equal(rows, np.flatnonzero(confidence >= level))
    assert set(kept[0.8]) < set(kept[0.6]) < set(kept[0.4]) <= set(kept[0.0])


@pytest.mark.parametrize(
    "counts, share",
    [
        ((600, 400), 0.5), ((900, 100), 0.6), ((150, 850), 0.75), ((500, 500), 0.5), ((600, 400), 0.9),
        ((800, 150, 50), 0.5), ((500, 300, 200), 0.7), ((600, 380, 120), 0.4), ((400, 380, 300), 0.34),
    ],
)  # fmt: skip
def test_class_share_holds_and_repeats_no_more_than_it_must(counts: tuple[int, ...], share: float) -> None:
    logits = logits_of(counts)
    chosen = choose(logits, share=share)
    times = np.bincount(chosen.rows, minlength=len(logits))
    classes = logits.argmax(axis=1)
    seen = np.bincount(classes, weights=times)
    assert (seen <= share * seen.sum() + 1).all(), seen  # whole rows only
    assert (np.diff(chosen.rows) >= 0).all() and times.min() == 1
    for index, before in enumerate(counts):
        assert np.ptp(times[classes == index]) <= 1, "inputs of one class are repeated alike"
        if seen[index] > before:
            largest = seen.max() / seen.sum()
            assert largest > share - 0.01, "more was repeated than the share asks for"
    if max(counts) <= share * sum(counts):
        np.testing.assert_array_equal(chosen.rows, np.arange(len(logits)))


def test_a_share_that_cannot_hold_is_refused() -> None:
    with pytest.raises(InputError, match="--max-class-share"):
        choose(logits_of((600, 400)), share=0.3)


def test_balancing_after_confidence() -> None:
    logits = logits_of((900, 300))
    both = choose(logits, 0.7, 0.5)
    assert set(both.rows) <= set(choose(logits, 0.7).rows)
    counts = np.bincount(logits[both.rows].argmax(axis=1), minlength=2)
    assert counts[0] == counts[1]


def test_what_is_repeated_depends_on_the_seed_alone() -> None:
    logits = logits_of((900, 400))
    first, again, other = (choose(logits, share=0.5, seed=seed).rows for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(first) == len(other) and (first != other).any()


@pytest.mark.parametrize(
    "counts, confidence, share",
    [((MIN_ROWS - 1, 0), 0.0, 1.0), ((300, 300), 1.0, 1.0), ((1_000, 0), 0.0, 0.5), ((5_000, 20), 0.0, 0.6)],
)
def test_too_few_rows_are_refused(counts: tuple[int, int], confidence: float, share: float) -> None:
    with pytest.raises(InputError) as caught:
        choose(logits_of(counts), confidence, share)
    for part in ("--min-confidence", "--max-class-share", str(MIN_ROWS), f"of {sum(counts)}"):
        assert part in str(caught.value)


def test_just_enough_rows_stay() -> None:
    assert len(choose(logits_of((MIN_ROWS - 10, 10))).rows) == MIN_ROWS


def test_report_describes_both_sides_in_the_tasks_words() -> None:
    logits = logits_of((750, 250))
    report = choose(logits, share=0.5).report
    assert list(report) == ["zero", "one"]
    assert [report[name]["share_before"] for name in report] == [0.75, 0.25]
    assert [report[name]["share"] for name in report] == [0.5, 0.5]
    confidence = probabilities(logits).max(axis=1)[logits.argmax(axis=1) == 1].mean()
    assert report["one"]["confidence"] == pytest.approx(confidence, abs=1e-4)


def test_logits_are_read_row_by_row() -> None:
    stored = np.arange(12, dtype=np.float32).reshape(4, 3)
    dataset = Dataset.from_dict({"text": list("abcd"), "teacher_logits": stored.tolist()})
    np.testing.assert_array_equal(teacher_logits(dataset), stored)


def test_probabilities_of_large_logits() -> None:
    np.testing.assert_allclose(probabilities(np.array([[1e4, 0.0], [-1e4, -1e4]])), [[1, 0], [0.5, 0.5]])
