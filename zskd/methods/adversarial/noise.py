"""Gumbel noise that belongs to the token, whatever its rank among the candidates."""

from __future__ import annotations

import numpy as np
import torch


def gumbel_noise(rngs: list[np.random.Generator], counts: list[int], tokens: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise for some tokens in each place, ``(places, tokens)`` float32.

    The noise is a function of the token's id, not of its rank. Rounding may swap the ranks of two nearly equal logits;
    if the noise followed the rank, a row would be rewritten differently in a whole batch and in parts of it. The noise
    is therefore a hash of the place's random number and the token id, that of SplitMix64 (Steele et al. 2014).

    Args:
        rngs: one generator per row of the batch.
        counts: number of places in each row; the places of a row are consecutive.
        tokens: ``(places, tokens)`` int64.
    """
    lowest, highest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    drawn = [rng.integers(lowest, highest, size=count) for rng, count in zip(rngs, counts, strict=True)]
    bits = torch.from_numpy(np.concatenate(drawn)).to(tokens.device)[:, None] + tokens * _signed(0x9E3779B97F4A7C15)
    bits = (bits ^ _shifted(bits, 30)) * _signed(0xBF58476D1CE4E5B9)
    bits = (bits ^ _shifted(bits, 27)) * _signed(0x94D049BB133111EB)
    bits = bits ^ _shifted(bits, 31)
    uniform = (_shifted(bits, 41).float() + 0.5) / 2**23  # as many bits as keep it below 1 in float32
    return -(-uniform.log()).log()


def _signed(word: int) -> int:
    """A 64-bit word whose first bit is set, as a signed integer; products wrap around in the same way."""
    return word - 2**64


def _shifted(bits: torch.Tensor, by: int) -> torch.Tensor:
    """Shift to the right and fill with zeros; PyTorch's own shift of int64 repeats the sign bit."""
    return (bits >> by) & (2 ** (64 - by) - 1)
