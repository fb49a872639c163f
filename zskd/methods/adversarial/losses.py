"""Terms of the generator's loss beside the divergence, as pure functions in float32."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from zskd.metrics.divergence import entropy


def unsureness(teacher_logits: torch.Tensor, floor: float = 0.9) -> torch.Tensor:
    """How far the teacher's entropy is above ``floor`` times its maximum, ``(batch,)`` float32; 0 where it is not.

    Without this term the generator can raise the divergence by making the teacher unsure of everything, and the student
    learns nothing from such rows.

    Args:
        teacher_logits: ``(batch, num_labels)``.
    """
    return functional.relu(entropy(teacher_logits) - floor * math.log(teacher_logits.shape[-1]))


def imbalance(mean_probabilities: torch.Tensor) -> torch.Tensor:
    """KL(mean prediction of a batch ‖ uniform): log K minus the entropy, a scalar; 0 if classes are balanced.

    Args:
        mean_probabilities: ``(num_labels,)``, sums to 1.
    """
    return math.log(mean_probabilities.shape[-1]) - _entropy_of(mean_probabilities)


def repetition(mean_probabilities: torch.Tensor, positions: int) -> torch.Tensor:
    """How much a batch repeats tokens: log(positions) minus the entropy of the mean token distribution, a scalar.

    It is 0 if every position has its own token with certainty, log(positions) if all positions have the same token, and
    negative if positions are undecided.

    Args:
        mean_probabilities: ``(vocabulary,)``, sums to 1.
    """
    return math.log(max(positions, 1)) - _entropy_of(mean_probabilities)


def _entropy_of(probabilities: torch.Tensor) -> torch.Tensor:
    # Without the clamp the gradient at 0 is infinite; multiplied by the 0 of an underflowed softmax, it becomes NaN.
    return -(probabilities * probabilities.clamp(min=1e-12).log()).sum()
