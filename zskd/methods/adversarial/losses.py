"""What the loss of a generator is made of, beside the divergence: pure functions in float32."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from zskd.metrics.divergence import entropy


def unsureness(teacher_logits: torch.Tensor, floor: float = 0.9) -> torch.Tensor:
    """How far the teacher's entropy is above ``floor`` times its maximum, ``(batch,)`` float32; 0 where it is not.

    A generator that only makes the teacher unsure of everything finds divergence without anything to be learned.

    Args:
        teacher_logits: ``(batch, num_labels)``.
    """
    return functional.relu(entropy(teacher_logits) - floor * math.log(teacher_logits.shape[-1]))


def imbalance(mean_probabilities: torch.Tensor) -> torch.Tensor:
    """KL of a batch's mean prediction from the even one: log K minus its entropy, a scalar, 0 for balance.

    Args:
        mean_probabilities: ``(num_labels,)``, sums to 1.
    """
    return math.log(mean_probabilities.shape[-1]) - _entropy_of(mean_probabilities)


def repetition(mean_probabilities: torch.Tensor, positions: int) -> torch.Tensor:
    """How far a batch's mean distribution over tokens is from that of ``positions`` different tokens, a scalar.

    It is log(positions) minus the mean's entropy: 0 where every position surely has a token of its own, log(positions)
    where all have the same, negative where positions are undecided.

    Args:
        mean_probabilities: ``(vocabulary,)``, sums to 1.
    """
    return math.log(max(positions, 1)) - _entropy_of(mean_probabilities)


def _entropy_of(probabilities: torch.Tensor) -> torch.Tensor:
    # Without the clamp the gradient at 0 is infinite, and times the 0 of a softmax that underflowed it is NaN.
    return -(probabilities * probabilities.clamp(min=1e-12).log()).sum()
