"""Training a run's student: Trainer's arguments, the learning rate, resuming, and the checkpoint that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.config.distillation import DistillConfig, optimizer_steps
from zskd.config.objective_options import ObjectiveOptions
from zskd.methods.method import Method
from zskd.models.quiet import keep_stdout_clean, quiet_transformers
from zskd.system import progress
from zskd.teacher.base import Teacher
from zskd.training.arguments import ZeroShotArguments
from zskd.training.log import EvaluationLog
from zskd.training.trainer import ZeroShotTrainer, last_checkpoint, repoint_best

# A built student starts mostly from random weights and needs larger steps than a pretrained one.
BUILT_LEARNING_RATE = 2.0e-3
PRETRAINED_LEARNING_RATE = 3.0e-4


@dataclass(frozen=True)
class Fit:
    """A finished training.

    Attributes:
        steps: optimizer steps of the whole run.
        best_step: step of the checkpoint that was kept.
        resumed_from: step of the checkpoint that training resumed from; 0 for a new run.
        history: Trainer's log.
        collapse: why training was ended early; None if it was not.
    """

    trainer: ZeroShotTrainer
    steps: int
    best_step: int
    resumed_from: int
    history: list[dict[str, Any]]
    collapse: str | None = None


def learning_rate(config: DistillConfig) -> float:
    """The peak learning rate: the option, or a default that depends on what the student starts from."""
    if config.learning_rate is not None:
        return config.learning_rate
    if config.student == "build":
        return BUILT_LEARNING_RATE
    return PRETRAINED_LEARNING_RATE


def training_arguments(config: DistillConfig, folder: Path, rows: int) -> ZeroShotArguments:
    """Trainer's arguments.

    Args:
        folder: where checkpoints go.
        rows: number of rows in one epoch, which with ``config.epochs`` decides the number of steps.
    """
    steps = optimizer_steps(config, rows)
    every = max(1, steps // config.checkpoints)
    return ZeroShotArguments(
        output_dir=str(folder),
        max_steps=steps,
        **vars(config.part(ObjectiveOptions)),
        per_device_train_batch_size=config.batch_size // PartialState().num_processes,
        per_device_eval_batch_size=256,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=learning_rate(config),
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=every,
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        logging_steps=config.logging_steps,
        logging_nan_inf_filter=False,
        bf16=config.student_precision == "bf16",
        report_to=config.report_to,
        seed=config.seed,
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=progress.hidden(),
    )


def _without_autocast(model: PreTrainedModel) -> None:
    """Remove the ``forward`` that accelerate wraps for ``bf16``, so that scoring computes in float32."""
    if "_original_forward" in vars(model):
        del model.forward, model._original_forward


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
    """Train `student` in place. With ``config.resume``, continue from the newest complete checkpoint in `folder`.

    Args:
        train: rows made by `zskd.transfer.rows.encode`.
        select: held-out rows. The checkpoint with the lowest loss on them is kept; agreement varies more by chance from
            one checkpoint to the next.
        folder: where checkpoints go.
        rows: number of rows in one epoch; default: that of `train`. A run passes the number of all labelled inputs,
            including those that a method will query, so that runs which are compared have equally many updates.
        methods: published methods beside the objective.
        teacher: for methods that ask it during training.
        cosines: between the teacher's classes, for the objectives that need them.
    """
    trainer = ZeroShotTrainer(
        student,
        training_arguments(config, folder, rows or len(train)),
        methods=methods,
        teacher=teacher,
        cosines=cosines,
        train_dataset=train,
        eval_dataset=select.sort("length"),
        processing_class=tokenizer,
        callbacks=[EvaluationLog(), *(callback for method in methods for callback in method.callbacks())],
    )
    keep_stdout_clean(trainer)
    checkpoint = last_checkpoint(folder) if config.resume else None
    if checkpoint:
        repoint_best(checkpoint)
    with quiet_transformers():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    _without_autocast(student)
    return Fit(
        trainer=trainer,
        steps=trainer.state.global_step,
        best_step=int(trainer.state.best_global_step or trainer.state.global_step),
        resumed_from=int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0,
        history=trainer.state.log_history,
        collapse=next((method.stopped for method in methods if method.stopped), None),
    )
