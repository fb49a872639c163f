"""Arguments of `ZeroShotTrainer`, and those of a run: steps, learning rate, checkpoints, batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from zskd.config.distillation import DistillConfig, optimizer_steps
from zskd.config.limits import limit_problems
from zskd.config.objective_options import ObjectiveOptions
from zskd.config.optimizer_options import OptimizerOptions
from zskd.system import progress
from zskd.training.optimizer import OptimizerArguments


@dataclass
class ZeroShotArguments(ObjectiveOptions, OptimizerArguments):
    """`transformers.TrainingArguments`, the options of the objective (`zskd.config.objective_options`), and the
    ``optimizer`` (`zskd.config.optimizer_options`).

    Without an ``objective`` the Trainer uses ``kd``. Models are pushed to the Hub at the end only; a new repository is
    private unless ``hub_private_repo`` is False. The options of a method are the method's own (`zskd.methods`).

    Raises:
        ValueError: an option is beyond its limits, ``optimizer`` contradicts ``optim``, or ``hub_strategy`` would send
            checkpoints.

    Example:
        >>> from zskd import ZeroShotArguments
        >>> arguments = ZeroShotArguments("runs/mine", temperature=2.0, max_steps=200, use_cpu=True)
        >>> arguments.temperature, arguments.label_names
        (2.0, ['teacher_logits'])
    """

    def __post_init__(self) -> None:
        if problems := limit_problems(self, of=ObjectiveOptions, shown=str):
            raise ValueError("; ".join(problems))
        # Teacher logits are the target. They travel beside the inputs and not as `labels`: Trainer would count
        # every logit as an example, and a BERT head would guess a multi-label problem.
        self.label_names = ["teacher_logits"]
        self.remove_unused_columns = False
        super().__post_init__()
        _push_safely(self)

    @property
    def n_gpu(self) -> int:
        """GPUs of this process: one at most, so that Trainer never wraps a model in `torch.nn.DataParallel`.

        That copies the model in every step, and a loss in `compute_loss` would see its first copy alone.
        """
        return min(1, super().n_gpu)


def _push_safely(arguments: TrainingArguments) -> None:
    """Allow pushes at the end only, and make new repositories private by default.

    A push during training sends whole folders, including the optimizer's state and ``training_args.bin``, which holds
    the token.
    """
    if arguments.push_to_hub and arguments.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
        raise ValueError(
            f"hub_strategy: expected 'end', found {arguments.hub_strategy.value!r}, which sends checkpoints"
        )
    arguments.hub_strategy = HubStrategy.END
    if arguments.hub_private_repo is None:
        arguments.hub_private_repo = True


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
        optimizer=config.optimizer or OptimizerOptions.optimizer,
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
        run_name=str(folder.parent),  # a nameless run of trackio would end with the training, before the scores
        seed=config.seed,
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=progress.hidden(),
    )
