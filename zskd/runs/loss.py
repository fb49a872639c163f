"""The loss that a run's student was trained on, in words and with its unit. Losses with another one do not compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Objectives whose loss depends on the temperature, and is T squared times a divergence.
TEMPERED = ("kd", "kd-pt", "kd-topk", "kd-pt+sim")
# Options beside the temperature on which the loss of an objective depends.
_MORE = {
    "kd-topk": ("top_k",),
    "label-smoothing": ("smoothing",),
    "kd-sim": ("similarity_power", "similarity_temperature"),
    "kd-pt+sim": ("similarity_power", "similarity_temperature", "pt_weight"),
}


@dataclass(frozen=True)
class Loss:
    """An objective with the settings that its loss depends on; equal ones can stand on one axis.

    Attributes:
        objective: its name.
        temperature: None where the loss does not depend on it.
        settings: names and values of further options that the loss depends on.
        gold: weight of the cross-entropy with gold labels, in the loss of rows that have one; None without labels.
    """

    objective: str
    temperature: float | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    gold: float | None = None

    @property
    def words(self) -> str:
        """The objective and its settings."""
        first = self.objective if self.temperature is None else f"{self.objective} at temperature {self.temperature:g}"
        more = [f"{name.replace('_', ' ')} {value}" for name, value in self.settings if value is not None]
        if self.gold is not None:
            more.append(f"with cross-entropy of gold labels at weight {self.gold:g}")
        return ", ".join([first, *more])

    @property
    def axis(self) -> str:
        """Label of an axis, with the unit."""
        label = f"{self.objective}: {_measure(self.objective, self.temperature)}"
        if self.gold is None:
            return label
        # A sum of two units where the objective is a squared difference.
        return f"{label}, with cross-entropy" if self.objective == "logit-mse" else f"{label}, with gold labels"


def _measure(objective: str, temperature: float | None) -> str:
    if objective == "logit-mse":
        return "squared difference of logits"
    if objective == "hard-label":
        return "cross-entropy (nats)"
    if temperature is None or temperature == 1.0:
        return "KL (nats)"
    return f"T² KL at T = {temperature:g} (nats)"


def loss_of(config: dict[str, Any]) -> Loss:
    """The loss of a run.

    Args:
        config: content of ``config.yaml``; one of an older version has no objective, which was kd then.
    """
    objective = config.get("objective") or "kd"
    return Loss(
        objective,
        temperature=config.get("temperature", 1.0) if objective in TEMPERED else None,
        settings=tuple((name, config[name]) for name in _MORE.get(objective, ()) if name in config),
        gold=config.get("gold_weight") if config.get("gold_labels") else None,
    )
