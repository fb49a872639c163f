"""KL divergence and entropy as pure functions of logits, computed in float32.

Source: Hinton et al. (2015) for the tempered divergence.
"""

from __future__ import annotations

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


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy ``(batch,)`` in nats of each row's distribution, float32.

    Args:
        logits: ``(batch, num_labels)``.
    """
    log_p = functional.log_softmax(logits.float(), dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1)
