"""Callbacks of a distillation run."""

from __future__ import annotations

import logging
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
