"""The noise of a token: a hash of its place's random number and its id."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zskd.methods.adversarial.noise import gumbel_noise


def test_noise_is_splitmix64_of_place_and_token() -> None:
    """With Python's whole numbers, which do not overflow as a tensor's do."""
    tokens = torch.tensor([[0, 1, 30_521], [7, 8, 9]])
    found = gumbel_noise([np.random.default_rng(3)], [2], tokens)
    limits = np.iinfo(np.int64)
    keys = np.random.default_rng(3).integers(limits.min, limits.max, size=2).tolist()
    for key, of_place, ids in zip(keys, found.tolist(), tokens.tolist(), strict=True):
        for token, noise in zip(ids, of_place, strict=True):
            bits = (key + token * 0x9E3779B97F4A7C15) % 2**64
            bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
            bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
            uniform = ((bits ^ bits >> 31) // 2**41 + 0.5) / 2**23
            assert noise == pytest.approx(-math.log(-math.log(uniform)), rel=1e-5, abs=1e-6)
