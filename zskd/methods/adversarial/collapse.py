"""A callback that ends training when it has collapsed."""

from __future__ import annotations

import logging
import math
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)


LARGE = 1.0  # a mean divergence in nats; students that fit their first few fresh rows well often reach less later


class CollapseStop(TrainerCallback):
    """Ends training when it has collapsed, and says why.

    It looks at what is logged: a loss or gradient that is no number, a class that has nearly all of the teacher's
    answers to fresh rows (``adversarial/class_*``) or of the student's (``eval_largest_class``), and a divergence far
    above its first value. Trainer replaces a loss that is NaN in its log unless ``logging_nan_inf_filter=False``.

    Args:
        largest_class: a class with a larger share counts as collapse.
        explosion: so many times the first logged divergence counts as collapse, where it is also above `LARGE`.

    Attributes:
        reason: why training was ended, None while it goes on.

    Example:
        >>> stop = CollapseStop(largest_class=0.9)
        >>> stop.reason is None
        True
    """

    def __init__(self, largest_class: float = 0.98, explosion: float = 20.0) -> None:
        self.largest_class, self.explosion = largest_class, explosion
        self.reason: str | None = None
        self._first: float | None = None
        self._spread = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read again what a resumed run has logged, so that it is judged by the same first values."""
        for logs in state.log_history:
            self._judge(logs)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Judge a log entry."""
        found = self._judge(logs or {})
        if found is not None and self.reason is None:
            self.reason = f"step {state.global_step}: {found}"
            logger.warning("training has collapsed and is ended at %s", self.reason)
            control.should_training_stop = True

    def _judge(self, logs: dict[str, Any]) -> str | None:
        for name, value in logs.items():
            if not isinstance(value, int | float):
                continue
            if not math.isfinite(value):
                return f"{name} is {value}; lower the learning rate"
            judged = name.startswith("adversarial/class_")
            if name == "eval_largest_class":
                # A student may begin with one class for everything; going back there is what counts.
                judged = self._spread
                self._spread |= value <= self.largest_class
            if judged and value > self.largest_class:
                who = "the student's answers" if name.startswith("eval") else "the teacher's answers to fresh rows"
                return (
                    f"one class has {100 * value:.1f} % of {who} ({name}); raise the balance weight or lower the rates"
                )
        divergence = logs.get("adversarial/divergence")
        if divergence is not None:
            self._first = divergence if self._first is None else self._first
            if divergence > max(self.explosion * self._first, LARGE):
                return (
                    f"the divergence on fresh rows rose from {self._first:.3f} to {divergence:.3f}; lower the "
                    "generator's learning rate or raise the anchor's weight"
                )
        return None
