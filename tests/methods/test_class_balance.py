"""The class balance: the share holds, nothing is dropped, and what is repeated is a function of the seed."""

from __future__ import annotations

import numpy as np
import pytest
from chosen_rows import choose, logits_of

from zskd.config.methods.class_balance import SPEC, ClassBalanceOptions
from zskd.errors import InputError
from zskd.transfer.transfer_set import MIN_ROWS


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


@pytest.mark.parametrize(("counts", "share"), [((1_000, 0), 0.5), ((5_000, 20), 0.6)])
def test_too_few_rows_in_balance_are_refused(counts: tuple[int, int], share: float) -> None:
    with pytest.raises(InputError) as caught:
        choose(logits_of(counts), share=share)
    for part in (f"--max-class-share {share}", str(MIN_ROWS), f"of {sum(counts)}"):
        assert part in str(caught.value)


def test_neutral_setting_keeps_every_row() -> None:
    logits = logits_of((900, 100))
    np.testing.assert_array_equal(choose(logits).rows, np.arange(len(logits)))


def test_the_neutral_setting_asks_for_no_method_and_the_default_does() -> None:
    assert not SPEC.asked_for(ClassBalanceOptions(max_class_share=1.0))
    assert SPEC.asked_for(ClassBalanceOptions())
