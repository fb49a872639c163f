"""Distillation losses as pure functions of logits, computed in float32.

Source: Hinton et al. (2015) for the tempered divergence; the scaling by T squared keeps the size of the
gradient in the student's logits comparable over temperatures.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional


def kl_divergence(teacher_logits: torch.Tensor, student_logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """KL(teacher ‖ student) of each row at temperature T.

    Args:
        teacher_logits: ``(batch, num_labels)``.
        student_logits: ``(batch, num_labels)``.
        temperature: both sides are divided by it before the softmax.

    Returns:
        ``(batch,)`` float32, zero where both rows agree up to a constant.
    """
    log_p = functional.log_softmax(teacher_logits.float() / temperature, dim=-1)
    log_q = functional.log_softmax(student_logits.float() / temperature, dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def kd_loss(teacher_logits: torch.Tensor, student_logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """T² times the batch mean of KL(teacher ‖ student); its gradient in the student's logits is T·(q - p)/batch.

    Args:
        teacher_logits: ``(batch, num_labels)``; detached by the caller where no gradient may reach the teacher.
        student_logits: ``(batch, num_labels)``.

    Returns:
        A scalar in float32.
    """
    return temperature**2 * kl_divergence(teacher_logits, student_logits, temperature).mean()


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy ``(batch,)`` in nats of each row's distribution, float32.

    Args:
        logits: ``(batch, num_labels)``.
    """
    log_p = functional.log_softmax(logits.float(), dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1)


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
