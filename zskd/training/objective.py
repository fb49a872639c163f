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

from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

from zskd.config.objective_options import ObjectiveOptions
from zskd.metrics.divergence import kl_divergence
from zskd.training.targets import (
    logit_mse,
    pt_target,
    sim_target,
    smoothed_target,
    target_divergence,
    topk_target,
    true_classes,
)
from zskd.transfer.gold import UNKNOWN


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
