"""The Trainer of a start: the backbone answers inside the step, in the thread of each piece of the batch."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from zskd.config.pretraining import PretrainConfig
from zskd.errors import RunError
from zskd.models.fast_layers import make_fast, make_stock
from zskd.models.quiet import keep_stdout_clean, quiet_transformers
from zskd.pretrain.backbone import LoadedBackbone
from zskd.pretrain.learner import EMPTY, StateLearner
from zskd.pretrain.shaped import Rows
from zskd.system import progress
from zskd.system.arrow import shortest_first
from zskd.system.processes import on_main
from zskd.training.log import EvaluationLog, FiniteLoss
from zskd.training.optimizer import OptimizedTrainer, OptimizerArguments
from zskd.training.pieces import Pieces
from zskd.training.private import asked_once
from zskd.training.resume import last_checkpoint, plain_values, step_of
from zskd.training.seam import no_methods
from zskd.training.so_far import read_so_far
from zskd.training.stop import StopAtSignal, stopping
from zskd.transfer.collator import TransferCollator

logger = logging.getLogger(__name__)


class StartTrainer(OptimizedTrainer):
    """Trains a `StateLearner` on rows of token ids; on a CPU with fast layers, and in one process in pieces.

    Args:
        backbone: whose states are learned.
    """

    def __init__(self, *args: Any, backbone: LoadedBackbone, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backbone = backbone
        self.seam = no_methods(self)
        self._pieces: Pieces | None = None

    def _body(self, model: Any) -> torch.nn.Module:
        body: torch.nn.Module = model.body  # without the map, which is dropped
        return body

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As `transformers.Trainer.train`."""
        with ExitStack() as stack:
            changed = make_fast(self.model.body, fused=True)
            stack.callback(make_stock, changed)
            if changed and self.accelerator.num_processes == 1:
                self._pieces = stack.enter_context(Pieces(torch.get_num_threads(), self._train_batch_size))
            try:
                return super().train(*args, **kwargs)
            finally:
                self._pieces = None

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Trainer's step on a batch. The columns of the table that a task fills get no gradient."""
        if self._pieces is None:
            loss = super().training_step(model, inputs, num_items_in_batch)
        else:
            model.train()
            batch, weights = self._prepare_inputs(inputs), list(self.model.parameters())
            loss = self._pieces.accumulate(lambda rows: self.compute_loss(model, rows), batch, weights)
        gradient = self.model.body.get_input_embeddings().weight.grad
        gradient[:, :EMPTY] = 0
        return loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The error of the states, a mean over the rows."""
        return model(self.backbone.states(inputs), **inputs)

    def prediction_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[torch.Tensor, None, None]:
        """The error alone."""
        with torch.no_grad():
            return self.compute_loss(model, self._prepare_inputs(inputs)), None, None


def start_arguments(config: PretrainConfig, folder: Path, steps: int) -> OptimizerArguments:
    """Trainer's arguments.

    Args:
        folder: where checkpoints go.
    """
    every = max(1, steps // config.checkpoints)
    return OptimizerArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=config.batch_size // PartialState().num_processes,
        per_device_eval_batch_size=64,
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=every,
        save_steps=every,
        save_total_limit=2,
        logging_steps=max(1, every // 4),
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        remove_unused_columns=False,
        label_names=[],
        report_to="none",
        seed=config.seed,
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=progress.hidden(),
    )


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        tokens: that were read, without padding.
        seconds: of training, in all calls up to the checkpoints that were resumed.
        errors: held-out error by step.
    """

    tokens: int
    seconds: float
    errors: dict[int, float]


def train(
    config: PretrainConfig, learner: StateLearner, backbone: LoadedBackbone, rows: Rows, steps: int, folder: Path
) -> Trained:
    """Train `learner` in place, going on from the newest whole checkpoint in `folder` if there is one.

    Raises:
        RunError: a loss is no number any more; or there are checkpoints, and none is as it was written.
    """
    finite, log = FiniteLoss(), EvaluationLog(lambda found: f"held-out error of the states {found['eval_loss']:.4f}")
    trainer = StartTrainer(
        learner,
        start_arguments(config, folder, steps),
        backbone=backbone,
        train_dataset=rows.train,
        eval_dataset=shortest_first(rows.heldout),
        data_collator=TransferCollator.of(backbone.tokenizer),
        callbacks=[log, finite, StopAtSignal()],
    )
    keep_stdout_clean(trainer)
    checkpoint = on_main(lambda: last_checkpoint(folder, best=False, own=True))
    if checkpoint is not None:
        held = read_so_far(checkpoint)
        log.before = held.seconds if held else 0.0
        logger.info("training: going on from step %s", f"{step_of(checkpoint):,}")
    resumed = None if checkpoint is None else str(checkpoint)
    with quiet_transformers(), stopping(), asked_once(), plain_values(resumed):
        done = trainer.train(resume_from_checkpoint=resumed)
    if finite.step is not None or not all(bool(weight.isfinite().all()) for weight in learner.parameters()):
        raise RunError(
            f"training: expected a finite error, found NaN or infinity after {finite.step or steps:,} steps; lower "
            f"--learning-rate {config.learning_rate:g}; no start was made"
        )
    errors = {entry["step"]: entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry}
    return Trained(int(trainer.state.num_input_tokens_seen), float(done.metrics["train_runtime"]), errors)
