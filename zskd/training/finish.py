"""`FinishFirst`, the callback that finishes the student before other callbacks see the end of training."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from zskd.training.seam import Seam


class FinishFirst(TrainerCallback):
    """Calls `Seam.finish` before any other callback runs at the end of training, such as one that publishes."""

    def __init__(self, seam: Seam) -> None:
        self.seam = seam

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check that methods may train; a checkpoint, if there is one, has been loaded by now."""
        self.seam.start(args, resumed=state.global_step > 0)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: PreTrainedModel | None = None,
        **kwargs: Any,
    ) -> None:
        """Finish the methods; the best weights have been loaded by now."""
        self.seam.finish(getattr(model, "module", model))
