"""Batches of similar length: every row once, in an order that seed and epoch decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zskd.training.sampler import LengthGroupedSampler


def order(sampler: LengthGroupedSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("count", [1, 7, 8, 3_001])
def test_sampler_gives_every_row_once_and_depends_on_seed_and_epoch_alone(count: int) -> None:
    lengths = np.random.default_rng(0).integers(2, 65, size=count)
    sampler = LengthGroupedSampler(lengths, 8, seed=3)
    assert len(sampler) == count
    assert sorted(order(sampler, 0)) == list(range(count))
    torch.manual_seed(1)
    np.random.seed(1)
    assert order(LengthGroupedSampler(lengths, 8, seed=3), 5) == order(sampler, 5)
    if count > 8:
        assert order(sampler, 0) != order(sampler, 1)
        assert order(sampler, 0) != order(LengthGroupedSampler(lengths, 8, seed=4), 0)


def test_sampler_batches_have_similar_lengths_and_the_short_one_is_last() -> None:
    lengths = np.random.default_rng(0).integers(2, 65, size=8 * 64 * 6 + 5)
    found = lengths[order(LengthGroupedSampler(lengths, 8, seed=0), 0)]
    batches = found[:-5].reshape(-1, 8)
    assert np.ptp(batches, axis=1).mean() < 3  # of 63; at random it is about 49
    assert abs(np.corrcoef(np.arange(len(batches)), batches.mean(axis=1))[0, 1]) < 0.15, "long batches at any time"
