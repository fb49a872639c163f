"""The private names of `transformers.Trainer` that zskd overrides, all in one place.

They exist in transformers 5.20 to 5.23. Private names may change without notice; tests/training/test_private.py fails
if one of them is gone or no longer called.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import accelerate.optimizer
import torch
from accelerate.utils import DistributedType
from datasets import Dataset
from transformers import Trainer
from transformers.trainer import SCALER_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from zskd.errors import RunError
from zskd.system.machine import warn_of_another_machine, write_machine
from zskd.system.processes import gather, on_main
from zskd.training.manifest import FILE as MANIFEST
from zskd.training.manifest import announce, write_manifest
from zskd.training.resume import best_of, check_best
from zskd.training.sampler import LengthGroupedSampler
from zskd.training.so_far import FILE, SoFar, read_so_far, write_so_far

if TYPE_CHECKING:
    from zskd.training.seam import Seam

logger = logging.getLogger(__name__)

NAMES = (
    "_save_checkpoint",
    "_get_train_sampler",
    "_run_epoch",
    "_clip_grad_norm",
    "_save_optimizer_and_scheduler",
    "_save_rng_state",
    "_load_optimizer_and_scheduler",
    "_load_scaler",
    "_load_best_model",
    "_finalize_training",
)
_WHOLE_GRADIENTS = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)  # in every process


class PrivateTrainer(Trainer):
    """A Trainer whose checkpoints include the state of methods, and which avoids repeated work in every step."""

    seam: Seam
    _clipped: tuple[torch.nn.Module, list[torch.nn.Parameter]] | None = None
    _sampler: LengthGroupedSampler | None = None
    _resumed_with: SoFar | None = None  # until it is taken up
    _began = 0.0  # `time.time()` of the training, earlier calls added before it
    _machine: dict[str, Any] | None = None  # what `machine` said when the training began

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> torch.utils.data.Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if not isinstance(dataset, Dataset) or "length" not in dataset.column_names:
            self.seam.refuse_epochs()
            return super()._get_train_sampler(train_dataset)
        lengths = dataset.with_format("numpy", columns=["length"])["length"][:]
        whole = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        self._sampler = LengthGroupedSampler(lengths, whole, self.args.seed, rows=self._epoch_rows)
        return self._sampler

    def _epoch_rows(self, epoch: int, count: int) -> Any:
        return self.seam.epoch_rows(epoch, self.accelerator.unwrap_model(self.model), count)

    # A finished run whose end lies within an epoch would go on for one step when it is resumed. And where several
    # processes resume within an epoch, the sampler stands too deep in what skips batches to be told the epoch.
    def _run_epoch(self, *args: Any, epoch: int, start_time: float, **kwargs: Any) -> None:
        self._take_up(start_time)
        if self._sampler is not None:
            self._sampler.set_epoch(epoch)
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, epoch=epoch, start_time=start_time, **kwargs)

    # Trainer begins its sums anew in every call. It sets them after it has loaded a checkpoint, so they are corrected
    # when the first epoch of the call begins, or at the end where no step is left.
    def _take_up(self, start_time: float) -> None:
        held, self._resumed_with = self._resumed_with, None
        if held is None:
            self._began = self._began or start_time
            return
        self._began = start_time - held.seconds
        self._initial_global_step = 0
        self._total_loss_scalar = held.losses
        self._globalstep_last_logged = held.logged
        pending = held.own_pending(self.accelerator.process_index, self.accelerator.num_processes)
        self._tr_loss = torch.tensor(pending, device=self.args.device)

    # `train_loss`, `train_runtime` and the speeds cover the whole training, in all processes.
    def _finalize_training(self, trial: Any, num_train_samples: int, start_time: float) -> Any:
        self._take_up(start_time)
        self._tr_loss = torch.tensor(statistics.fmean(gather(self._tr_loss.item())), device=self.args.device)
        return super()._finalize_training(trial, num_train_samples, self._began)

    def _so_far(self) -> SoFar:
        return SoFar(
            losses=self._total_loss_scalar,
            pending=gather(self._tr_loss.item()),
            logged=self._globalstep_last_logged,
            seconds=time.time() - self._began,
        )

    # Accelerate's method walks through the whole model in every step to look for sharded parameters.
    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        if self._clipped is None or self._clipped[0] is not model:
            parameters = list(model.parameters())
            sharded = any(hasattr(parameter, "device_mesh") for parameter in parameters)
            whole = self.accelerator.distributed_type in _WHOLE_GRADIENTS and not sharded
            self._clipped = (model, parameters if whole else [])
        if self.seam.parameters:
            self.accelerator.unscale_gradients()
            self.seam.modules.clip(self.args.max_grad_norm)
        if not (parameters := self._clipped[1]):
            return super()._clip_grad_norm(model)
        self.accelerator.unscale_gradients()
        return torch.nn.utils.clip_grad_norm_(parameters, self.args.max_grad_norm)

    # Older checkpoints are removed when the manifest of the new one is there. A callback's `on_save` would be too late.
    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial))
        checkpoint = folder / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            if self.args.should_save:
                (checkpoint / MANIFEST).unlink(missing_ok=True)  # of another training in the same folder
                announce(self.state)
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            write_manifest(checkpoint)
            best = self.state.best_model_checkpoint
            rotate_checkpoints(str(folder), save_total_limit=limit, best_model_checkpoint=best, use_mtime=True)

    # A callback's `on_save` would be too late: by then older checkpoints have been removed.
    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        self.seam.save(Path(output_dir), main=self.args.should_save)
        so_far = self._so_far()
        if self.args.should_save:
            write_so_far(Path(output_dir), so_far)
            write_machine(Path(output_dir), self._machine)

    # Every process writes its own random state. The trainer's state, which makes a checkpoint whole, comes after all.
    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
        except ValueError as error:  # of `torch.optim.Optimizer.load_state_dict`
            raise RunError(
                f"{checkpoint}: expected the checkpoint of a training with the same optimizer and the same trained "
                f"weights, found another ({error}); go on with the settings that it was begun with"
            ) from error
        if checkpoint is not None:
            if (held := read_so_far(Path(checkpoint))) is None:
                logger.warning("%s: has no %s, so train_loss is the mean of the steps after it", checkpoint, FILE)
            self._resumed_with = held
            if (best := best_of(Path(checkpoint))) is not None and best.is_dir():
                self.state.best_model_checkpoint = str(best)
            self.seam.load(Path(checkpoint))
            warn_of_another_machine(Path(checkpoint))

    # Trainer would load what it finds into a scaler that training without float16 does not have.
    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and self.accelerator.scaler is None and (Path(checkpoint) / SCALER_NAME).exists():
            raise RunError(
                f"{checkpoint}: expected the checkpoint of a training in this precision, found {SCALER_NAME}, which "
                "training in float16 writes; go on in the precision that it was begun in"
            )
        super()._load_scaler(checkpoint)

    def _load_best_model(self) -> None:
        # The best may be the last, which the first process may still be writing. Today Trainer happens to wait before
        # this, when it adds up floating-point operations.
        self.accelerator.wait_for_everyone()
        best = Path(str(self.state.best_model_checkpoint))
        on_main(lambda: check_best(best))
        super()._load_best_model()
        if self.state.best_model_checkpoint is not None:
            self.seam.load_modules(Path(self.state.best_model_checkpoint))


@contextlib.contextmanager
def asked_once() -> Iterator[None]:
    """Cache accelerate's check for an optional package during training.

    Accelerate repeats the check twice in every step and searches the file system each time.
    """
    name = "is_lomo_available"
    before = getattr(accelerate.optimizer, name)
    setattr(accelerate.optimizer, name, functools.cache(before))
    try:
        yield
    finally:
        setattr(accelerate.optimizer, name, before)
