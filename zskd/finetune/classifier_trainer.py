"""The Trainer of a teacher: its loss, its arguments, and a training that goes on from a checkpoint."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import DataCollatorWithPadding, EvalPrediction, TrainingArguments

from zskd.config.verbs import FinetuneConfig
from zskd.errors import RunError
from zskd.finetune.snapshots import Snapshots, check_names, choose_weights
from zskd.finetune.start import Start
from zskd.finetune.undistillable import USUAL, Contradiction, contradiction
from zskd.models.quiet import keep_stdout_clean, quiet_transformers
from zskd.system import interrupts, progress
from zskd.system.arrow import shortest_first
from zskd.training.autocast import without_autocast
from zskd.training.forward import model_inputs
from zskd.training.log import EvaluationLog, FiniteLoss
from zskd.training.private import PrivateTrainer, asked_once
from zskd.training.resume import last_checkpoint, plain_values, step_of
from zskd.training.seam import no_methods
from zskd.training.so_far import read_so_far
from zskd.training.stop import StopAtSignal, stopping

logger = logging.getLogger(__name__)


class ClassifierTrainer(PrivateTrainer):
    """A Trainer on labelled rows, whose checkpoints hold the trained weights and refer to `Snapshots`.

    The loss is the mean cross-entropy over the micro-batch, independent of accumulation. The order of rows depends on
    seed and epoch only. Evaluation computes in float32, whatever precision trains.

    Args:
        snapshots: is also the first callback.
        contradiction: the term that is subtracted for rows with logits of a usual teacher; None for none.
    """

    loss_is_scaled_for_ga = False

    def __init__(
        self, *args: Any, snapshots: Snapshots, contradiction: Contradiction | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, callbacks=[snapshots, *kwargs.pop("callbacks", ())], **kwargs)
        self.snapshots = snapshots
        self.contradiction = contradiction
        # An adapter's own `forward` takes anything.
        inner = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        self._shown = model_inputs(inner, self.processing_class)
        self.seam = no_methods(self)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """The mean cross-entropy, less the contradiction of a usual teacher."""
        logits = model(**{name: inputs[name] for name in self._shown if name in inputs}).logits.float()
        loss = torch.nn.functional.cross_entropy(logits, inputs["labels"])
        if self.contradiction is not None and USUAL in inputs:
            loss = loss - self.contradiction(logits, inputs[USUAL])
        return (loss, {"loss": loss, "logits": logits}) if return_outputs else loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """As `transformers.Trainer.evaluate`, in float32."""
        with without_autocast(self.model):
            return super().evaluate(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the trained weights alone, and the list of evaluations: a checkpoint needs no more."""
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        self.snapshots.save(folder, self.state.global_step, self.model)


def _accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float((np.argmax(prediction.predictions, axis=-1) == prediction.label_ids).mean())}


def _words(metrics: dict[str, float]) -> str:
    return f"loss {metrics['eval_loss']:.4f}, accuracy {metrics['eval_accuracy']:.4f} on the selection rows"


def classifier_arguments(config: FinetuneConfig, folder: Path, steps: int, precision: str) -> TrainingArguments:
    """Trainer's arguments.

    Args:
        folder: where checkpoints go, one with each evaluation.
        steps: optimizer steps, about.
        precision: as `zskd.system.precision.pick_precision` gives it.
    """
    every = max(1, steps // config.checkpoints)
    return TrainingArguments(
        output_dir=str(folder),
        learning_rate=config.learning_rate,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=128,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=not torch.cuda.is_available(),
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        logging_steps=max(1, every // 4),
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=progress.hidden(),
        seed=config.seed,
        report_to="none",
    )


@dataclass(frozen=True)
class Trained:
    """A finished training, whose model has the chosen weights.

    Attributes:
        steps: optimizer steps.
        seconds: of training, in all calls up to the checkpoints that were resumed, and of choosing.
        accuracies: on the selection rows, as `choose_weights` returns them.
    """

    steps: int
    seconds: float
    accuracies: dict[str, float]


def train(config: FinetuneConfig, start: Start, folder: Path) -> Trained:
    """Train the model of `start` in place. With ``config.resume``, go on from the newest whole checkpoint in `folder`.

    Raises:
        RunError: a loss or a weight is no number any more; or there are checkpoints, and none is as it was written.
    """
    snapshots, finite, log = Snapshots(folder), FiniteLoss(), EvaluationLog(_words)
    trainer = ClassifierTrainer(
        start.model,
        classifier_arguments(config, folder, start.steps, start.precision),
        train_dataset=start.train,
        eval_dataset=shortest_first(start.selection),
        data_collator=DataCollatorWithPadding(start.tokenizer),
        processing_class=start.tokenizer,
        compute_metrics=_accuracy,
        snapshots=snapshots,
        contradiction=contradiction(config),
        callbacks=[log, finite, StopAtSignal()],
    )
    keep_stdout_clean(trainer)
    checkpoint = last_checkpoint(folder, best=False, own=True, beside=snapshots.trouble) if config.resume else None
    if checkpoint is not None:
        check_names(checkpoint, start.model)
        snapshots.load(checkpoint)
        held = read_so_far(checkpoint)
        log.before = held.seconds if held else 0.0
        logger.info("training: going on from step %s", f"{step_of(checkpoint):,}")
    resumed = None if checkpoint is None else str(checkpoint)
    with quiet_transformers(), stopping(interrupts.LONG_GRACE), asked_once(), plain_values(resumed):
        done = trainer.train(resume_from_checkpoint=resumed)
    _check_finite(config, trainer, finite, folder)
    began = time.monotonic()
    trainer.remove_callback(log)  # what follows are no steps
    with quiet_transformers():
        accuracies = choose_weights(trainer, snapshots)
    best = max(accuracies, key=lambda name: accuracies[name])
    logger.info(
        "training: %d steps; chosen: %s, accuracy %.4f on the selection rows",
        trainer.state.global_step, best, accuracies[best],
    )  # fmt: skip
    seconds = float(done.metrics["train_runtime"]) + time.monotonic() - began
    _check_finite(config, trainer, finite, folder)
    return Trained(trainer.state.global_step, seconds, accuracies)


def _check_finite(config: FinetuneConfig, trainer: ClassifierTrainer, finite: FiniteLoss, folder: Path) -> None:
    if finite.step is None and all(bool(weights.isfinite().all()) for weights in trainer.model.parameters()):
        return
    shutil.rmtree(folder, ignore_errors=True)  # its checkpoints would come to the same end
    raise RunError(
        f"training: expected finite weights, found NaN or infinity after {finite.step or trainer.state.global_step} "
        f"steps; lower --learning-rate {config.learning_rate:g}; nothing was kept"
    )
