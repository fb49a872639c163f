"""`ZeroShotTrainer`: a `transformers.Trainer` whose target is the teacher's output distribution."""

from __future__ import annotations

import functools
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import accelerate.optimizer
import numpy as np
import torch
from accelerate.utils import DistributedType
from datasets import Dataset
from huggingface_hub import HfApi
from transformers import EvalPrediction, Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from zskd.hub.upload import CARD
from zskd.methods.adversarial.phase2 import AdversarialPhase
from zskd.methods.adversarial.writer import Writer
from zskd.metrics.divergence import kl_divergence
from zskd.system.files import write_text
from zskd.training.arguments import ZeroShotArguments
from zskd.training.objective import Objective
from zskd.training.push import push_model
from zskd.training.sampler import LengthGroupedSampler
from zskd.training.trainer_card import trainer_card
from zskd.transfer.collator import TransferCollator

ADVERSARY_FOLDER = "adversary"  # of a checkpoint
_NOT_FOR_THE_MODEL = ("teacher_logits", "gold_label", "row_kind")
# Accelerate asks twice in every step whether this package is installed, which searches the file system.
accelerate.optimizer.is_lomo_available = functools.cache(accelerate.optimizer.is_lomo_available)
_WHOLE_GRADIENTS = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)  # in every process


class ZeroShotTrainer(Trainer):
    """Trains a sequence classifier on rows that carry ``teacher_logits`` ``(num_labels,)`` beside their inputs.

    Everything of `transformers.Trainer` works: checkpoints, resuming, callbacks, trackers, accelerate. Evaluation
    reports the loss and ``eval_agreement``, the share of rows on which teacher and student choose the same class.

    Args:
        adversary: rewrites rows of the batches from ``args.adversarial_start`` on (see
            `zskd.methods.adversarial.phase2`); its generator is trained, saved with the checkpoints and restored from
            them. None for the transfer set alone.
        cosines: ``(num_labels, num_labels)`` between the rows of the teacher's output layer, in the logits' order;
            needed by the objectives ``kd-sim`` and ``kd-pt+sim`` (see `zskd.models.output_layer`).

    Rows may have gold labels in a column ``gold_label`` (class index, `UNKNOWN` where there is none): the true class of
    an objective is then the label, and its cross-entropy has a share of ``args.gold_weight``.
    """

    args: ZeroShotArguments

    # compute_loss returns the mean over the micro-batch, so Trainer divides by the accumulation steps itself. With
    # the stock setting it would multiply gradients by accumulation steps and by processes.
    loss_is_scaled_for_ga = False

    def __init__(
        self, *args: Any, adversary: Writer | None = None, cosines: torch.Tensor | None = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("compute_metrics", _agreement)
        if kwargs.get("data_collator") is None:
            kwargs["data_collator"] = TransferCollator.of(kwargs.get("processing_class"))
        super().__init__(*args, **kwargs)
        names = (item.name for item in fields(Objective) if item.name not in ("name", "cosines"))
        settings = {name: getattr(self.args, name) for name in names}
        self.objective = Objective(self.args.objective, **settings, cosines=cosines)
        self.phase2 = AdversarialPhase(adversary, self.args, self.accelerator) if adversary is not None else None
        self._clipped: tuple[torch.nn.Module, list[torch.nn.Parameter]] | None = None

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Trainer's step; in phase 2 on adversarial rows too, and with one step of the generator per optimizer step."""
        if self.phase2 is None:
            return super().training_step(model, inputs, num_items_in_batch)
        step, steps = self.state.global_step, self.state.max_steps
        # The generator needs the student's function, not its gradients, so nothing is to be averaged by DDP here.
        student = self.accelerator.unwrap_model(model)
        inputs = self._prepare_inputs(inputs)
        inputs = self.phase2.mix(student, inputs, step, steps, self.current_gradient_accumulation_steps)
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients and (report := self.phase2.end_step(student, step, steps)):
            self.log(report)
        return loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of ``args.objective`` (see `zskd.training.objective`), averaged over the micro-batch."""
        teacher_logits, kinds = inputs["teacher_logits"], inputs.get("row_kind")
        outputs = model(**{name: value for name, value in inputs.items() if name not in _NOT_FOR_THE_MODEL})
        loss = self.objective(teacher_logits, outputs.logits, inputs.get("gold_label"))
        if kinds is not None and self.phase2 is not None:
            with torch.no_grad():
                self.phase2.note_student(kinds, kl_divergence(teacher_logits, outputs.logits, self.args.temperature))
        return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss

    @functools.cached_property
    def _parameters(self) -> int:
        return int(self.model.num_parameters(exclude_embeddings=True))

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Of a step, as Trainer counts them, which would walk through the whole model in every step."""
        return 6 * inputs["input_ids"].numel() * self._parameters

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> torch.utils.data.Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if not isinstance(dataset, Dataset) or "length" not in dataset.column_names:
            return super()._get_train_sampler(train_dataset)
        lengths = dataset.with_format("numpy", columns=["length"])["length"][:]
        whole = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(lengths, whole, self.args.seed)

    def create_model_card(self, model_name: str | None = None, **metadata: Any) -> None:
        """Write ``README.md`` into ``args.output_dir``: `trainer_card`, whose metadata it takes."""
        if self.is_world_process_zero():
            card = self._card(self.hub_model_id or model_name or Path(self.args.output_dir).name, **metadata)
            write_text(Path(self.args.output_dir) / CARD, str(card))

    def _card(self, repo_id: str, **metadata: Any) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        return trainer_card(self.args, self.state, model, repo_id, adversarial=self.phase2 is not None, **metadata)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **metadata: Any,
    ) -> Any:
        """Save the model, write its card, and send weights, configuration, tokenizer and card.

        Trainer's own method sends the whole of ``args.output_dir``, caches and ``training_args.bin`` included, which
        holds ``args.hub_token``.

        Args:
            private: of a new repository; default ``args.hub_private_repo``, which is True unless set.
            metadata: see `create_model_card`.

        Returns:
            ``CommitInfo``, or with ``blocking=False`` a future of it; None in every process but the first.

        Raises:
            InputError, RunError: see `zskd.training.push.push_model`.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        token = token or self.args.hub_token
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        metadata.pop("model_name", None)
        self.create_model_card(**metadata)
        send = functools.partial(
            push_model,
            Path(self.args.output_dir),
            self._card(self.hub_model_id, **metadata),
            self.hub_model_id,
            token=token,
            message=commit_message or "End of training",
            revision=revision or self.args.hub_revision,
        )
        return send() if blocking else HfApi().run_as_future(send)

    # These four are private names of Trainer, held by tests.

    # A finished run whose end lies within an epoch would go on for one step when it is resumed.
    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    # Accelerate's own method walks through the model and looks for sharded parameters in every step.
    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        if self._clipped is None or self._clipped[0] is not model:
            parameters = list(model.parameters())
            sharded = any(hasattr(parameter, "device_mesh") for parameter in parameters)
            whole = self.accelerator.distributed_type in _WHOLE_GRADIENTS and not sharded
            self._clipped = (model, parameters if whole else [])
        if not (parameters := self._clipped[1]):
            return super()._clip_grad_norm(model)
        self.accelerator.unscale_gradients()
        return torch.nn.utils.clip_grad_norm_(parameters, self.args.max_grad_norm)

    # `on_save` of a callback would be too late: by then a checkpoint has been pushed and older ones removed.
    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.phase2 is not None and self.args.should_save:
            self.phase2.save(Path(output_dir) / ADVERSARY_FOLDER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.phase2 is not None and checkpoint is not None:
            self.phase2.load(Path(checkpoint) / ADVERSARY_FOLDER)


def _agreement(prediction: EvalPrediction) -> dict[str, float]:
    same = prediction.predictions.argmax(axis=-1) == prediction.label_ids.argmax(axis=-1)
    shares = np.bincount(prediction.predictions.argmax(axis=-1)) / len(same)
    return {"agreement": float(same.mean()), "largest_class": float(shares.max())}


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
