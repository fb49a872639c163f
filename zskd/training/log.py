"""Callbacks of a distillation run."""

from __future__ import annotations

import logging
import math
from typing import Any

from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

logger = logging.getLogger(__name__)


class EvaluationLog(TrainerCallback):
    """One log line per evaluation: step, loss and agreement on the held-out half that selects checkpoints."""

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        """Log the metrics of an evaluation."""
        logger.info(
            "step %d of %d: held-out loss %.4f, agreement with the teacher %.4f",
            state.global_step,
            state.max_steps,
            metrics["eval_loss"],
            metrics["eval_agreement"],
        )


class FiniteLoss(TrainerCallback):
    """Ends a training whose loss is no number any more; checkpoints from before are kept, and none is saved after.

    Trainer must not replace such a loss in its log (``logging_nan_inf_filter=False``).

    Attributes:
        step: at which it was seen first; None while all is well.
    """

    def __init__(self) -> None:
        self.step: int | None = None

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Look at the training loss."""
        self._look((logs or {}).get("loss"), state, control)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        """Look at the held-out loss, before a checkpoint is saved."""
        self._look(metrics.get("eval_loss"), state, control)

    def _look(self, loss: float | None, state: TrainerState, control: TrainerControl) -> None:
        if loss is not None and not math.isfinite(loss) and self.step is None:
            self.step = state.global_step
        if self.step is not None:
            control.should_training_stop, control.should_save = True, False
