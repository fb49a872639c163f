"""The arguments of a run's training: steps, learning rate and its shape, checkpoints, batches."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import PartialState

from zskd.config.distillation import DistillConfig, optimizer_steps
from zskd.config.objective_options import ObjectiveOptions
from zskd.system import progress
from zskd.training.arguments import ZeroShotArguments

# A built student starts mostly from random weights and needs larger steps than a pretrained one.
BUILT_LEARNING_RATE = 2.0e-3


PRETRAINED_LEARNING_RATE = 3.0e-4


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
