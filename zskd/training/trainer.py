"""`ZeroShotTrainer`: a `transformers.Trainer` whose target is the teacher's output distribution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import EvalPrediction, Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from zskd.files import write_text
from zskd.losses import kd_loss
from zskd.training.arguments import ZeroShotArguments
from zskd.training.data import LengthGroupedSampler


class ZeroShotTrainer(Trainer):
    """Trains a sequence classifier on rows that carry ``teacher_logits`` ``(num_labels,)`` beside their inputs.

    Everything of `transformers.Trainer` works: checkpoints, resuming, callbacks, trackers, accelerate. Evaluation
    reports the loss and ``eval_agreement``, the share of rows on which teacher and student choose the same class.
    """

    args: ZeroShotArguments

    # compute_loss returns the mean over the micro-batch, so Trainer divides by the accumulation steps itself. With
    # the stock setting it would multiply gradients by accumulation steps and by processes.
    loss_is_scaled_for_ga = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("compute_metrics", _agreement)
        super().__init__(*args, **kwargs)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """`zskd.losses.kd_loss` at ``args.temperature``, averaged over the micro-batch."""
        teacher_logits = inputs["teacher_logits"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "teacher_logits"})
        loss = kd_loss(teacher_logits, outputs.logits, self.args.temperature)
        return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> torch.utils.data.Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if not isinstance(dataset, Dataset) or "length" not in dataset.column_names:
            return super()._get_train_sampler(train_dataset)
        lengths = dataset.with_format("numpy", columns=["length"])["length"][:]
        return LengthGroupedSampler(lengths, self.args.train_batch_size * self.args.world_size, self.args.seed)


def _agreement(prediction: EvalPrediction) -> dict[str, float]:
    same = prediction.predictions.argmax(axis=-1) == prediction.label_ids.argmax(axis=-1)
    return {"agreement": float(same.mean())}


def repoint_best(checkpoint: Path) -> None:
    """Make a checkpoint's state name its best checkpoint where it lies now; Trainer wrote an absolute path."""
    path = checkpoint / TRAINER_STATE_NAME
    state = json.loads(path.read_text(encoding="utf-8"))
    best = checkpoint.parent / f"{PREFIX_CHECKPOINT_DIR}-{state['best_global_step']}"
    if state["best_model_checkpoint"] != str(best) and best.is_dir():
        state["best_model_checkpoint"] = str(best)
        write_text(path, json.dumps(state, indent=2, sort_keys=True) + "\n")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint below `folder`.

    Trainer writes the state file last, so a checkpoint that was cut off has none, or half of one.
    """
    found = []
    for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        try:
            state = json.loads((path / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            continue
        found.append((int(state["global_step"]), path))
    return max(found)[1] if found else None
