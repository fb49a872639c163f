"""`ZeroShotTrainer`: a `transformers.Trainer` whose target is the teacher's output distribution."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import HfApi
from transformers import EvalPrediction, PreTrainedConfig, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.trainer_utils import TrainOutput

from zskd.hub.upload import CARD
from zskd.methods.context import Run, Training
from zskd.methods.method import Method
from zskd.models.labels import make_single_label
from zskd.models.lengths import check_rows, set_reading_length
from zskd.system.files import write_text
from zskd.system.machine import machine
from zskd.system.processes import on_main
from zskd.teacher.base import Teacher
from zskd.teacher.live import live_teacher
from zskd.training.arguments import ZeroShotArguments
from zskd.training.fast_student import FastStudent
from zskd.training.finish import FinishFirst
from zskd.training.forward import model_inputs, student_forward
from zskd.training.objective import Objective
from zskd.training.optimizer import OptimizedTrainer
from zskd.training.private import asked_once
from zskd.training.push import push_model
from zskd.training.resume import plain_values, resume_point
from zskd.training.seam import Seam
from zskd.training.trainer_card import trainer_card
from zskd.training.trials import begin_trial, check_search
from zskd.transfer.collator import TransferCollator


class ZeroShotTrainer(OptimizedTrainer):
    """Trains a sequence classifier on rows that carry ``teacher_logits`` ``(num_labels,)`` beside their inputs.

    Everything of `transformers.Trainer` works: checkpoints, resuming, callbacks, trackers, hyperparameter search,
    accelerate. Evaluation reports the loss and ``eval_agreement``, the share of rows on which teacher and student
    choose the same class. The objective's options are read from ``args`` whenever a loss is computed.

    Args:
        args: `ZeroShotArguments`; the other arguments are those of `transformers.Trainer`.
        methods: published methods beside the objective, in the order in which their hooks are called (`zskd.Method`).
        teacher: a `zskd.Teacher` with weights, for the methods that ask it while training; default None.
        cosines: ``(num_labels, num_labels)`` between the rows of the teacher's output layer, in the logits' order;
            needed by the objectives ``kd-sim`` and ``kd-pt+sim`` (`zskd.class_cosines`).

    Rows may have gold labels in a column ``gold_label`` (class index, `UNKNOWN` where there is none): the true class of
    an objective is then the label, and its cross-entropy has a share of ``args.gold_weight``. Further columns of
    numbers reach the methods, never the student.

    Raises:
        ValueError: arguments contradict each other, or a method cannot work with how a batch is split.
        InputError: rows are longer than the student has positions.

    Example:
        ``examples/trainer.py`` is a complete program. Here `teacher`, `student` and `texts` are there already:

        >>> import zskd
        >>> arguments = zskd.ZeroShotArguments("runs/mine", max_steps=2, report_to="none", use_cpu=True)
        >>> rows = zskd.transfer_rows(teacher, (texts,), max_length=32)
        >>> trainer = zskd.ZeroShotTrainer(student, arguments, train_dataset=rows, eval_dataset=rows)
        >>> trainer.train().global_step
        {'train_runtime': ...}
        2
        >>> 0 <= trainer.evaluate()["eval_agreement"] <= 1
        True
    """

    args: ZeroShotArguments
    verified: str | None = None  # a checkpoint that needs no second look

    # compute_loss returns the mean over the micro-batch, so Trainer divides by the accumulation steps itself. With
    # the stock setting it would multiply gradients by accumulation steps and by processes.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        *args: Any,
        methods: Sequence[Method] = (),
        teacher: Teacher | None = None,
        cosines: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("compute_metrics", _agreement)
        if kwargs.get("data_collator") is None:
            kwargs["data_collator"] = TransferCollator.of(kwargs.get("processing_class"))
        self.cosines = cosines
        super().__init__(*args, **kwargs)
        _say_single_label(self.model)
        self.distillation_loss()  # raises now if the objective cannot be computed
        sets = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"eval_dataset": self.eval_dataset}
        for name, rows in {"train_dataset": self.train_dataset, **sets}.items():
            check_rows(rows, self.model, name)
        self.seam = self._seam(methods, teacher)
        if self.seam:
            self.callback_handler.callbacks.insert(0, FinishFirst(self.seam))
        self._fast = FastStudent(self, usual=ZeroShotTrainer)
        self.add_callback(self._fast)

    def _seam(self, methods: Sequence[Method], teacher: Teacher | None) -> Seam:
        live = None
        if teacher is not None and any(method.wants_live_teacher for method in methods):
            live = live_teacher(teacher)
        run = Run(
            seed=self.args.seed,
            student=self.model,
            tokenizer=self.processing_class,
            teacher=teacher,
            temperature=self.args.temperature,
        )
        training = Training(
            accelerator=self.accelerator,
            seed=self.args.seed,
            batch_size=self.args.per_device_train_batch_size,
            accumulation=self.args.gradient_accumulation_steps,
            temperature=self.args.temperature,
            learning_rate=self.args.learning_rate,
        )
        return Seam(methods, run, training, live)

    def call_model_init(self, trial: Any = None) -> torch.nn.Module:
        """As `transformers.Trainer.call_model_init`."""
        return _say_single_label(super().call_model_init(trial))

    def distillation_loss(self) -> Objective:
        """The objective, with its options as they are now."""
        return Objective(self.args, cosines=self.cosines)

    def train(
        self, resume_from_checkpoint: str | bool | None = None, trial: Any = None, *args: Any, **kwargs: Any
    ) -> TrainOutput:
        """As `transformers.Trainer.train`; a resumed one ends with the sums of the whole (`zskd.training.so_far`).

        Args:
            resume_from_checkpoint: True takes the newest checkpoint that is as it was written.

        Raises:
            RunError: the checkpoint, or each one there, is not as it was written (`zskd.training.manifest`).
        """
        self._began, self._resumed_with, self._machine = 0.0, None, machine()
        asked, best = resume_from_checkpoint, self.args.load_best_model_at_end
        if asked is None or asked != self.verified:
            asked = on_main(lambda: resume_point(asked, Path(self.args.output_dir), best=best))
        if trial is not None:
            begin_trial(self, trial, self._search_name)
        with asked_once(), plain_values(asked), self._fast:
            return super().train(asked, trial, *args, **kwargs)

    def hyperparameter_search(self, *args: Any, **kwargs: Any) -> Any:
        """As `transformers.Trainer.hyperparameter_search`; every option of the objective can be searched. Trackers have
        a run for each of Optuna's trials (`zskd.training.trials`).

        Raises:
            ValueError: the trainer has methods.
        """
        check_search(self.seam.methods)
        self._search_name = self.args.run_name
        try:
            return super().hyperparameter_search(*args, **kwargs)
        finally:
            self.args.run_name = self._search_name

    _search_name: str | None = None  # ``args.run_name``, to which each trial adds its own

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> Any:
        """The micro-batches of a step, which methods may look at together first."""
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.seam and batches:
            student = self.accelerator.unwrap_model(self.model)
            self.seam.begin_step(batches, self.state.global_step, self.state.max_steps, student)
        return batches, count

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Trainer's step on a micro-batch as the methods make it; they end their step before the optimizer does."""
        if not self.seam:
            found = self._fast.step(model, inputs)
            return super().training_step(model, inputs, num_items_in_batch) if found is None else found
        # A method calls the student without its gradients, so DDP has nothing to average here.
        student = self.accelerator.unwrap_model(model)
        batch = self._prepare_inputs(inputs)
        step, steps = self.state.global_step, self.state.max_steps
        batch = self.seam.batch(batch, step, steps, self.current_gradient_accumulation_steps, student)
        loss = super().training_step(model, batch, num_items_in_batch)
        if self.accelerator.sync_gradients and (report := self.seam.end_step()):
            self.log(report)
        return loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of ``args.objective`` (see `zskd.training.objective`), averaged over the micro-batch, and the
        methods' terms."""
        student = self.accelerator.unwrap_model(model)
        output = student_forward(
            model, student, inputs, self._names(student), want_states=self.seam.wants_states and not self.seam.finished
        )
        logits, term = output.logits, None
        if self.seam and not self.seam.finished:
            step = self.seam.step if model.training else None
            if step is None:
                rows = len(inputs["input_ids"])
                step = self.seam.evaluation_step(rows, self.state.global_step, self.state.max_steps, student)
            logits = self.seam.logits(output, step)
            if step.training:
                term = self.seam.loss(inputs, replace(output, logits=logits), step)
        loss = self.distillation_loss()(inputs["teacher_logits"], logits, inputs.get("gold_label"))
        if term is not None:
            loss = loss + term
        return (loss, {"loss": loss, "logits": logits}) if return_outputs else loss

    def _names(self, student: torch.nn.Module) -> tuple[str, ...]:
        """What the student may be shown."""
        if self._shown is None or self._shown[0] is not student:
            self._shown = (student, model_inputs(student, self.processing_class))
        return self._shown[1]

    _shown: tuple[torch.nn.Module, tuple[str, ...]] | None = None

    @functools.cached_property
    def _parameters(self) -> int:
        return int(self.model.num_parameters(exclude_embeddings=True))

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Of a step, as Trainer counts them, which would walk through the whole model in every step."""
        return 6 * inputs["input_ids"].numel() * self._parameters

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        """As `transformers.Trainer.save_model`; the tokenizer is saved with the length that the student reads."""
        model = self.accelerator.unwrap_model(self.model)
        if isinstance(self.processing_class, PreTrainedTokenizerBase) and isinstance(model, PreTrainedModel):
            set_reading_length(self.processing_class, model.config)
        super().save_model(*args, **kwargs)

    def create_model_card(self, model_name: str | None = None, **metadata: Any) -> None:
        """Write ``README.md`` into ``args.output_dir``: `trainer_card`, whose metadata it takes."""
        if self.is_world_process_zero():
            card = self._card(self.hub_model_id or model_name or Path(self.args.output_dir).name, **metadata)
            write_text(Path(self.args.output_dir) / CARD, str(card))

    def _card(self, repo_id: str, **metadata: Any) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        sentences = [sentence for method in self.seam.methods if (sentence := method.card())]
        return trainer_card(self.args, self.state, model, repo_id, methods=sentences, **metadata)

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
            self.args.hub_private_repo = self.args.hub_private_repo if private is None else private
            self.init_hf_repo(token=token)
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


def _say_single_label(model: torch.nn.Module) -> torch.nn.Module:
    """Let the student's configuration say what it is trained for, so that a pipeline applies a softmax."""
    if isinstance(getattr(model, "config", None), PreTrainedConfig):  # also of an adapter around it
        make_single_label(model.config)
    return model


def _agreement(prediction: EvalPrediction) -> dict[str, float]:
    same = prediction.predictions.argmax(axis=-1) == prediction.label_ids.argmax(axis=-1)
    shares = np.bincount(prediction.predictions.argmax(axis=-1)) / len(same)
    return {"agreement": float(same.mean()), "largest_class": float(shares.max())}
