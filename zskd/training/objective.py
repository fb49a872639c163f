"""The objectives: what a student learns from a teacher's logits, after the levels of Tang et al. (2020).

"Understanding and Improving Knowledge Distillation" separates three levels of a teacher's output: universe (smoothing),
domain (which classes are similar) and instance (how hard an input is). All functions are pure functions of logits; the
domain level also uses the cosines between the rows of the teacher's output layer. Where a target needs a true class, it
is the gold label if there is one, otherwise the teacher's class.

A target made of tempered teacher probabilities is compared with tempered student probabilities, and the loss is scaled
by T squared, as in `kd_loss`. Label smoothing, ``kd-sim`` and ``hard-label`` use no tempered teacher probabilities, so
the student is not tempered for them either.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

from zskd.config.objective_options import ObjectiveOptions
from zskd.metrics.divergence import kl_divergence
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


class Objective:
    """A student's loss: what it learns of the teacher's logits (docs/anatomy.md has all objectives).

    Source: Tang et al. (2020), "Understanding and Improving Knowledge Distillation".

    Args:
        options: which objective, and its settings; None for the defaults.
        cosines: ``(num_labels, num_labels)`` of the teacher's output layer, for ``kd-sim`` and ``kd-pt+sim``.
        changes: options that are other than in `options`.

    Raises:
        ValueError: the objective is not known, or lacks the cosines.

    Example:
        >>> import torch
        >>> from zskd.training.objective import Objective
        >>> loss = Objective(objective="logit-mse")(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
        >>> round(float(loss), 3)
        0.125
    """

    def __init__(
        self, options: ObjectiveOptions | None = None, *, cosines: torch.Tensor | None = None, **changes: Any
    ) -> None:
        options = options or ObjectiveOptions()
        self.options = replace(options, **changes) if changes else options
        self.name, self.cosines = self.options.objective or "kd", cosines
        if self.name not in _ROWS:
            raise ValueError(f"objective: expected one of {', '.join(_ROWS)}, found {self.name!r}")
        if self.name in NEEDS_COSINES and cosines is None:
            raise ValueError(f"objective {self.name}: expected the cosines of the teacher's output layer, found none")

    def __call__(
        self, teacher_logits: torch.Tensor, student_logits: torch.Tensor, gold: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The mean loss of a batch, a scalar in float32.

        Args:
            teacher_logits: ``(batch, num_labels)``.
            student_logits: ``(batch, num_labels)``.
            gold: ``(batch,)`` int64 gold labels, `UNKNOWN` for rows without one; None without labels.
        """
        if self.name == "kd" and gold is None:
            return kd_loss(teacher_logits, student_logits, self.options.temperature)
        rows = _ROWS[self.name](self, teacher_logits, student_logits, gold)
        if gold is not None:
            labelled = functional.cross_entropy(student_logits.float(), gold, ignore_index=UNKNOWN, reduction="none")
            weight = torch.where(gold == UNKNOWN, 0.0, self.options.gold_weight)
            rows = (1 - weight) * rows + weight * labelled
        return rows.mean()


def _kd(objective: Objective, teacher: torch.Tensor, student: torch.Tensor, gold: Any) -> torch.Tensor:
    return objective.options.temperature**2 * kl_divergence(teacher, student, objective.options.temperature)


def _label_smoothing(objective: Objective, teacher: torch.Tensor, student: torch.Tensor, gold: Any) -> torch.Tensor:
    target = smoothed_target(true_classes(teacher, gold), teacher.shape[-1], objective.options.smoothing)
    return target_divergence(target, student)


def _kd_pt(objective: Objective, teacher: torch.Tensor, student: torch.Tensor, gold: Any) -> torch.Tensor:
    return target_divergence(
        pt_target(teacher, gold, objective.options.temperature), student, objective.options.temperature
    )


def _kd_sim(objective: Objective, teacher: torch.Tensor, student: torch.Tensor, gold: Any) -> torch.Tensor:
    assert objective.cosines is not None
    cosines = objective.cosines.to(student.device)
    power, temperature = objective.options.similarity_power, objective.options.similarity_temperature
    return target_divergence(sim_target(cosines, true_classes(teacher, gold), power, temperature), student)


def _kd_topk(objective: Objective, teacher: torch.Tensor, student: torch.Tensor, gold: Any) -> torch.Tensor:
    k = objective.options.top_k or default_top_k(teacher.shape[-1])
    return target_divergence(
        topk_target(teacher, k, objective.options.temperature), student, objective.options.temperature
    )


def _kd_pt_sim(objective: Objective, teacher: torch.Tensor, student: torch.Tensor, gold: Any) -> torch.Tensor:
    instance, domain = (part(objective, teacher, student, gold) for part in (_kd_pt, _kd_sim))
    return objective.options.pt_weight * instance + (1 - objective.options.pt_weight) * domain


def _logit_mse(objective: Objective, teacher: torch.Tensor, student: torch.Tensor, gold: Any) -> torch.Tensor:
    return logit_mse(teacher, student)


def _hard_label(objective: Objective, teacher: torch.Tensor, student: torch.Tensor, gold: Any) -> torch.Tensor:
    return functional.cross_entropy(student.float(), true_classes(teacher, gold), reduction="none")


NEEDS_COSINES = ("kd-sim", "kd-pt+sim")
_ROWS = {
    "kd": _kd,
    "label-smoothing": _label_smoothing,
    "kd-pt": _kd_pt,
    "kd-sim": _kd_sim,
    "kd-topk": _kd_topk,
    "kd-pt+sim": _kd_pt_sim,
    "logit-mse": _logit_mse,
    "hard-label": _hard_label,
}


def default_top_k(num_labels: int) -> int:
    """Half of the classes, at least one."""
    return max(1, num_labels // 2)


def coinciding(name: str, num_labels: int, top_k: int | None = None, *, gold: bool = False) -> str | None:
    """A sentence that says which other objective this one equals for a number of classes; None if it equals none.

    Args:
        gold: whether some rows have gold labels, so that the true class is not always the teacher's.
    """
    k = top_k or default_top_k(num_labels)
    if num_labels == 2:
        two = {
            "kd-pt": "kd-pt, kd-topk and kd are the same",
            "kd-topk": "kd-pt, kd-topk and kd are the same",
            "kd-sim": "kd-sim is label smoothing",
            "kd-pt+sim": "kd-pt is kd and kd-sim is label smoothing, so kd-pt+sim is kd and label smoothing",
        }
        return f"with two classes {two[name]}" if name in two else None
    if name == "kd-topk" and k >= num_labels - 1:
        return f"with {k} of {num_labels} classes kept, kd-topk is kd"
    if name == "kd-topk" and k == 1 and not gold:
        return "with one class kept, kd-topk is kd-pt"
    return None


def kd_loss(teacher_logits: torch.Tensor, student_logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """T² times the batch mean of KL(teacher ‖ student); its gradient in the student's logits is T·(q - p)/batch.

    Args:
        teacher_logits: ``(batch, num_labels)``; detached by the caller where no gradient may reach the teacher.
        student_logits: ``(batch, num_labels)``.
        temperature: T, by which both are divided before the softmax.

    Returns:
        A scalar in float32.

    Source: Hinton et al. (2015), "Distilling the Knowledge in a Neural Network".

    Example:
        >>> import torch
        >>> round(float(kd_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]]))), 4)
        0.3278
    """
    return temperature**2 * kl_divergence(teacher_logits, student_logits, temperature).mean()
