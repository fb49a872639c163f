"""Training a run's student: Trainer's arguments, the learning rate, resuming, and the checkpoint that is chosen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.config.distillation import DistillConfig
from zskd.errors import RunError
from zskd.methods.method import Method
from zskd.models.quiet import keep_stdout_clean, quiet_transformers
from zskd.system.arrow import shortest_first
from zskd.system.processes import on_main
from zskd.teacher.base import Teacher
from zskd.training.arguments import training_arguments
from zskd.training.autocast import remove_autocast
from zskd.training.log import EvaluationLog, FiniteLoss
from zskd.training.resume import checkpoints, last_checkpoint, step_of
from zskd.training.so_far import read_so_far
from zskd.training.stop import StopAtSignal, stopping
from zskd.training.trainer import ZeroShotTrainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fit:
    """A finished training.

    Attributes:
        steps: optimizer steps of the whole run.
        best_step: step of the checkpoint that was chosen.
        resumed_from: step of the checkpoint that training resumed from; 0 for a new run.
        seconds_before: wall-clock time of training in earlier calls, up to the checkpoint that was resumed.
        asked_before: texts that methods asked the teacher for in these steps.
        history: Trainer's log.
        collapse: why training was ended early; None if it was not.
    """

    trainer: ZeroShotTrainer
    steps: int
    best_step: int
    resumed_from: int
    history: list[dict[str, Any]]
    collapse: str | None = None
    seconds_before: float = 0.0
    asked_before: int = 0


class _AskedBefore(TrainerCallback):
    """How many texts methods had asked for when training began: 0, or what a checkpoint says."""

    def __init__(self, methods: Sequence[Method]) -> None:
        self.methods, self.count = methods, 0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Count; a checkpoint has been loaded by now."""
        self.count = sum(method.queries for method in self.methods)


def fit(
    config: DistillConfig,
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: Dataset,
    select: Dataset,
    folder: Path,
    *,
    rows: int | None = None,
    methods: Sequence[Method] = (),
    teacher: Teacher | None = None,
    cosines: torch.Tensor | None = None,
) -> Fit:
    """Train `student` in place. With ``config.resume``, continue from the newest checkpoint in `folder` that is as
    it was written.

    Args:
        train: rows made by `zskd.transfer.rows.encode`.
        select: held-out rows. The checkpoint with the lowest loss on them is chosen; agreement varies more by chance
            from one checkpoint to the next.
        folder: where checkpoints go.
        rows: number of rows in one epoch; default: that of `train`. A run passes the number of all labelled inputs,
            including those that a method will query, so that runs which are compared have equally many updates.
        methods: published methods beside the objective.
        teacher: for methods that ask it during training.
        cosines: between the teacher's classes, for the objectives that need them.

    Raises:
        RunError: the training or held-out loss is no number any more, or no checkpoint is as it was written.
    """
    asked, finite, log = _AskedBefore(methods), FiniteLoss(), EvaluationLog()
    trainer = ZeroShotTrainer(
        student,
        training_arguments(config, folder, rows or len(train)),
        methods=methods,
        teacher=teacher,
        cosines=cosines,
        train_dataset=train,
        eval_dataset=shortest_first(select),
        processing_class=tokenizer,
        callbacks=[
            log,
            finite,
            asked,
            StopAtSignal(),
            *(callback for method in methods for callback in method.callbacks()),
        ],
    )
    keep_stdout_clean(trainer)
    checkpoint = on_main(lambda: last_checkpoint(folder, best=True, own=True)) if config.resume else None
    if checkpoint:
        trainer.verified = str(checkpoint)
        logger.info("training: going on from step %s", f"{step_of(checkpoint):,}")
    with quiet_transformers(), stopping():
        before = read_so_far(checkpoint) if checkpoint else None  # older checkpoints are removed while training
        log.before = before.seconds if before else 0.0
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if finite.step is not None:
        kept = next(iter(checkpoints(folder)), None)
        raise RunError(
            f"training: expected a loss, found NaN or infinity at step {finite.step:,} (--learning-rate "
            f"{config.learning_rate}); lower it and repeat the command in another folder. "
            + (f"What was trained before is kept in {kept}" if kept else "There is no checkpoint from before")
        )
    if trainer.state.best_model_checkpoint is None and trainer.state.best_global_step:
        raise RunError(
            f"{folder}: expected the best checkpoint, of step {trainer.state.best_global_step:,}, found none; no "
            f"student was saved. Remove {folder} and repeat the command to train from the beginning"
        )
    remove_autocast(student)  # scoring computes in float32
    return Fit(
        trainer=trainer,
        steps=trainer.state.global_step,
        best_step=int(trainer.state.best_global_step or trainer.state.global_step),
        resumed_from=step_of(checkpoint) if checkpoint else 0,
        history=trainer.state.log_history,
        collapse=next((method.stopped for method in methods if method.stopped), None),
        seconds_before=before.seconds if before else 0.0,
        asked_before=asked.count,
    )
