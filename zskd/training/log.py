"""Callbacks of a training: what the log says while it goes on, and its end where the loss is no number any more."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from zskd.system.formatting import about

logger = logging.getLogger(__name__)


class EvaluationLog(TrainerCallback):
    """Log lines of a training: step, time, and when it will end; one for each evaluation, with its scores.

    Between evaluations there are lines after 30 seconds, one minute, two, four and so on, so that a long training says
    soon how long it will take. The estimate is the mean pace of this call, evaluations and checkpoints included, and so
    are the tokens per second, which are said where Trainer counts them (``include_num_input_tokens_seen``).

    Args:
        scores: what a line says of an evaluation's metrics; default: loss and agreement on the held-out half that
            selects checkpoints.

    Attributes:
        before: seconds of the training in earlier calls, which a resumed one adds.
    """

    FIRST = 30.0  # seconds

    def __init__(self, scores: Callable[[dict[str, float]], str] | None = None) -> None:
        self.scores = scores or _heldout
        self.before = 0.0
        self._began: tuple[int, float] | None = None  # step and time at which this call began to train
        self._read = 0  # tokens before this call, where Trainer counts them
        self._next = self.FIRST

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock; a checkpoint has been loaded by now."""
        self._began, self._next = (state.global_step, time.monotonic()), self.FIRST
        self._read = state.num_input_tokens_seen

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log the time, now and then."""
        if self._began is None or control.should_evaluate:
            return
        if time.monotonic() - self._began[1] >= self._next:
            logger.info("step %d of %d%s", state.global_step, state.max_steps, self._time(state, ": "))

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        """Log the metrics of an evaluation."""
        found, spent = self.scores(metrics), self._time(state, "; ")
        logger.info("step %d of %d: %s%s", state.global_step, state.max_steps, found, spent)

    def _time(self, state: TrainerState, before: str) -> str:
        """Time so far and expected end in words; nothing where no step of this call has ended."""
        if self._began is None or (done := state.global_step - self._began[0]) <= 0:
            return ""
        spent = time.monotonic() - self._began[1]
        self._next = max(self._next, 2 * spent)
        left = spent / done * (state.max_steps - state.global_step)
        words = f"{before}{about(self.before + spent)} so far"
        if (read := state.num_input_tokens_seen - self._read) > 0:
            words += f", {read / spent:,.0f} tokens/s"
        return f"{words}, about {about(left)} left{_clock(left, datetime.now().astimezone())}" if left > 0 else words


def _clock(left: float, now: datetime) -> str:
    """When that many seconds will have passed, on this machine's clock; nothing for less than two minutes."""
    if left < 120:
        return ""
    end = now + timedelta(seconds=left)
    return f" (until {end:%H:%M})" if end.date() == now.date() else f" (until {end:%Y-%m-%d %H:%M})"


def _heldout(metrics: dict[str, float]) -> str:
    return f"held-out loss {metrics['eval_loss']:.4f}, agreement with the teacher {metrics['eval_agreement']:.4f}"


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
