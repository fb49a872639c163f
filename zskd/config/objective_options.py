"""Options of the objective: what the student learns from the teacher's logits. `ZeroShotArguments` has all of them."""

from __future__ import annotations

from dataclasses import dataclass

from zskd.config import limits
from zskd.config.option import option

OBJECTIVES = ("kd", "label-smoothing", "kd-pt", "kd-sim", "kd-topk", "kd-pt+sim", "logit-mse", "hard-label")


@dataclass
class ObjectiveOptions:
    """The loss (see `zskd.training.objective`).

    Example:
        >>> ObjectiveOptions(objective="kd-topk", top_k=2).temperature
        1.0
    """

    temperature: float = option(
        1.0,
        "temperature of the distillation loss: kd, kd-pt, kd-topk and kd-pt+sim",
        low=0.01,
        high=limits.HOTTEST,
        group="training",
    )
    objective: str | None = option(
        None,
        "what the student learns from the teacher's output: all of it (kd), smoothed classes (label-smoothing), only "
        "the confidence (kd-pt), which classes are similar (kd-sim), the largest probabilities (kd-topk), kd-pt and "
        "kd-sim together, the logits, or the classes; default: kd, but logit-mse for a built student of one text and "
        "two classes",
        choices=OBJECTIVES,
        group="objective",
    )
    top_k: int | None = option(
        None,
        "probabilities that kd-topk keeps; default: half of the classes",
        low=1,
        high=limits.MOST_ROWS,
        group="objective",
    )
    smoothing: float = option(
        0.1, "share of the target that label-smoothing spreads evenly", low=0.0, high=1.0, group="objective"
    )
    similarity_power: float = option(
        0.5, "power of the cosines between the teacher's classes in kd-sim", low=0.0, high=100.0, group="objective"
    )
    similarity_temperature: float = option(
        0.3, "kd-sim's own temperature of these cosines", low=0.01, high=limits.HOTTEST, group="objective"
    )
    pt_weight: float = option(0.5, "share of kd-pt in kd-pt+sim", low=0.0, high=1.0, group="objective")
    gold_weight: float = option(
        0.5,
        "share of the cross-entropy with the gold label in the loss of a row that has one",
        low=0.0,
        high=1.0,
        group="objective",
    )
