"""Targets of the objectives, as pure functions of logits, by the levels of Tang et al. (2020)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from zskd.transfer.gold import UNKNOWN


def tempered(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Probabilities ``(batch, num_labels)`` float32 of logits at a temperature."""
    return functional.softmax(logits.float() / temperature, dim=-1)


def true_classes(teacher_logits: torch.Tensor, gold: torch.Tensor | None = None) -> torch.Tensor:
    """The true class ``(batch,)`` int64 of each row: its gold label, or the teacher's class if it has none.

    Args:
        teacher_logits: ``(batch, num_labels)``; the first of equal largest logits counts.
        gold: ``(batch,)`` int64, `UNKNOWN` for rows without a label; None if no row has one.
    """
    classes = _ranked(teacher_logits)[:, 0]
    return classes if gold is None else torch.where(gold == UNKNOWN, classes, gold)


def _ranked(logits: torch.Tensor) -> torch.Tensor:
    # A stable sort, so that ties are broken in the same way everywhere.
    return logits.float().argsort(dim=-1, descending=True, stable=True)


def smoothed_target(classes: torch.Tensor, num_labels: int, smoothing: float) -> torch.Tensor:
    """Universe level: 1 - s on the true class and s/K on every class, ``(batch, num_labels)``.

    Args:
        classes: ``(batch,)`` int64.
        smoothing: the share s; 0 gives the target of plain cross-entropy.
    """
    return (1 - smoothing) * functional.one_hot(classes, num_labels).float() + smoothing / num_labels


def pt_target(teacher_logits: torch.Tensor, gold: torch.Tensor | None = None, temperature: float = 1.0) -> torch.Tensor:
    """Instance level (KD-pt): the teacher's probability of the true class; the other classes share the rest evenly.

    Returns:
        ``(batch, num_labels)``, rows sum to one.
    """
    kept = functional.one_hot(true_classes(teacher_logits, gold), teacher_logits.shape[-1]).bool()
    return _share_rest(tempered(teacher_logits, temperature), kept)


def topk_target(teacher_logits: torch.Tensor, k: int, temperature: float = 1.0) -> torch.Tensor:
    """KD-topk: the k largest probabilities as they are; the other classes share the rest evenly.

    If k is K or K - 1, the target is the teacher's own distribution.

    Returns:
        ``(batch, num_labels)``, rows sum to one.

    Raises:
        ValueError: k is not between 1 and the number of classes.
    """
    num_labels = teacher_logits.shape[-1]
    if not 1 <= k <= num_labels:
        raise ValueError(f"k: expected a value from 1 to the {num_labels} classes, found {k}")
    p = tempered(teacher_logits, temperature)
    if k >= num_labels - 1:
        return p
    kept = torch.zeros_like(p, dtype=torch.bool).scatter_(-1, _ranked(teacher_logits)[:, :k], True)
    return _share_rest(p, kept)


def _share_rest(p: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    # The rest is summed, not subtracted from 1: if the teacher is certain, that difference would be rounding error.
    rest = p.masked_fill(kept, 0.0).sum(dim=-1, keepdim=True) / (~kept).sum(dim=-1, keepdim=True)
    return torch.where(kept, p, rest)


def class_cosines(weights: torch.Tensor) -> torch.Tensor:
    """Which classes are alike: the cosines between the rows of a teacher's output layer.

    Args:
        weights: ``(num_labels, hidden)``, such as ``teacher.output_weights()``.

    Returns:
        ``(num_labels, num_labels)`` float32, from -1 to 1.

    Source: Tang et al. (2020), "Understanding and Improving Knowledge Distillation".

    Example:
        >>> import torch
        >>> class_cosines(torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])).tolist()
        [[1.0, 0.0, -1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]
    """
    rows = functional.normalize(weights.float(), dim=-1)
    return (rows @ rows.T).clamp(-1.0, 1.0)


def sim_target(
    cosines: torch.Tensor, classes: torch.Tensor, power: float = 0.5, temperature: float = 0.3
) -> torch.Tensor:
    """Domain level (KD-sim): softmax over classes of cos^power / T with the true class; equal for all of its inputs.

    Args:
        cosines: ``(num_labels, num_labels)``, see `class_cosines`.
        classes: ``(batch,)`` int64.
        power: exponent of the cosine's absolute value; the sign is kept.
        temperature: temperature of the cosines, unrelated to that of the logits.

    Returns:
        ``(batch, num_labels)``, rows sum to one.
    """
    powered = cosines.sign() * cosines.abs().pow(power)
    return functional.softmax(powered / temperature, dim=-1)[classes]


def equal_smoothing(cosine: float, power: float = 0.5, temperature: float = 0.3) -> float:
    """The smoothing share that gives the target of `sim_target` for two classes with a given cosine."""
    powered = math.copysign(abs(cosine) ** power, cosine)
    return 2 / (1 + math.exp((1 - powered) / temperature))


def target_divergence(target: torch.Tensor, student_logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """T² KL(target ‖ student) of each row: the cross-entropy minus the target's entropy, which has no gradient.

    Args:
        target: ``(batch, num_labels)``, rows sum to one; zeros are allowed.
        student_logits: ``(batch, num_labels)``, divided by the temperature before the softmax.

    Returns:
        ``(batch,)`` float32.
    """
    log_q = functional.log_softmax(student_logits.float() / temperature, dim=-1)
    return temperature**2 * (torch.xlogy(target, target) - target * log_q).sum(dim=-1)


def logit_mse(teacher_logits: torch.Tensor, student_logits: torch.Tensor) -> torch.Tensor:
    """Half the mean squared difference of centred logits of each row, ``(batch,)``: distillation's limit for large T.

    Centring removes the constant per row that a softmax ignores.
    """
    difference = student_logits.float() - teacher_logits.float()
    return 0.5 * (difference - difference.mean(dim=-1, keepdim=True)).square().mean(dim=-1)


def gradient_rescaling(
    teacher_logits: torch.Tensor, student_logits: torch.Tensor, classes: torch.Tensor, weight: float = 1.0
) -> torch.Tensor:
    """Proposition 1: the gradient of the true logit with distillation, divided by that of cross-entropy, at T = 1.

    It is (1 - λ) + λ (p_y - q_y) / (1 - q_y) with teacher p, student q and distillation weight λ. Inputs that the
    teacher is certain of count more; the sign flips where the teacher is less certain than the student.

    Args:
        classes: the true class y, ``(batch,)`` int64.
        weight: λ; (1 - λ) of the loss is the cross-entropy with the true class.

    Returns:
        ``(batch,)`` float32.
    """
    at = classes[:, None]
    log_p = functional.log_softmax(teacher_logits.float(), dim=-1)
    log_q = functional.log_softmax(student_logits.float(), dim=-1)
    # 1 - q_y is the sum of the others, and p_y - q_y is (1 - q_y) - (1 - p_y): accurate for a certain student too.
    p_rest, q_rest = (log.exp().scatter(-1, at, 0.0).sum(dim=-1) for log in (log_p, log_q))
    return (1 - weight) + weight * (q_rest - p_rest) / q_rest
