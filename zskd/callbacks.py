"""Callbacks for any `transformers.Trainer`: adversarial rows, agreement and scores, and a stop when training collapses.

They need nothing of `zskd.ZeroShotTrainer`, and any third-party callback works with that.
"""

from __future__ import annotations

import logging
from typing import Any

from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.labelling import predict_logits
from zskd.models.blackbox import BlackBox
from zskd.models.classifier import Classifier
from zskd.models.student import student_classifier
from zskd.scoring import agreement, score_predictions
from zskd.tasks import Task
from zskd.training.adversarial_rows import AdversarialBatches, AdversarialRows
from zskd.training.callbacks import CollapseStop

__all__ = ["AdversarialBatches", "AdversarialRows", "AgreementCallback", "CollapseStop"]

logger = logging.getLogger(__name__)


class AgreementCallback(TrainerCallback):
    """At each evaluation and at the end: agreement with the teacher on some texts, and scores where there are labels.

    Texts and labels are the user's; `zskd.distill` never installs this callback. Results are logged, kept in
    ``history`` and appended to the Trainer's ``state.log_history``.

    Args:
        texts: one list of texts, or two for pairs.
        labels: gold classes, in the task's order.
        max_length: tokens; default: the task's.
    """

    def __init__(
        self,
        task: Task,
        teacher: Classifier | BlackBox,
        texts: tuple[list[str], ...],
        labels: list[int] | None = None,
        max_length: int | None = None,
    ) -> None:
        self.task, self.texts, self.labels = task, texts, labels
        self.max_length = max_length or task.max_length
        logits = predict_logits(teacher, texts, max_length=self.max_length, precision="fp32")
        self.teacher_logits = logits[:, list(teacher.order)]
        self.history: list[dict[str, Any]] = []

    def report(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """``agreement``, ``agreement_above_chance`` and, with labels, the task's metrics."""
        was_training = model.training
        student = student_classifier(self.task, getattr(model, "module", model), tokenizer, "student")
        logits = predict_logits(student, self.texts, max_length=self.max_length, precision="fp32")
        logits = logits[:, list(student.order)]
        model.train(was_training)
        agreed = agreement(self.teacher_logits, logits)
        found: dict[str, Any] = {"agreement": agreed["raw"], "agreement_above_chance": agreed["above_chance"]}
        if self.labels is not None:
            found |= score_predictions(self.task, logits.argmax(axis=1), self.labels)
        return found

    def _note(self, state: TrainerState, kwargs: dict[str, Any]) -> None:
        found = {"step": state.global_step, **self.report(kwargs["model"], kwargs["processing_class"])}
        self.history.append(found)
        state.log_history.append({f"zskd/{name}" if name != "step" else name: v for name, v in found.items()})
        logger.info("step %d: %s", state.global_step, ", ".join(f"{k} {v:.4f}" for k, v in found.items() if v))

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Report beside every evaluation."""
        self._note(state, kwargs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Report what training ended with."""
        self._note(state, kwargs)
