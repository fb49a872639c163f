"""Callbacks for any `transformers.Trainer`: adversarial rows, agreement and scores, and a stop when training collapses.

They do not need `zskd.ZeroShotTrainer`, and `ZeroShotTrainer` works with any third-party callback.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.hub.upload import check_access, check_repo_id, read_token
from zskd.methods.adversarial.batches import AdversarialBatches, AdversarialRows
from zskd.methods.adversarial.collapse import CollapseStop
from zskd.metrics.scores import agreement, score_predictions
from zskd.models.encoding import Cuts
from zskd.models.lengths import save_tokenizer
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import classifier_from
from zskd.training.push import push_model
from zskd.training.trainer_card import trainer_card

__all__ = ["AdversarialBatches", "AdversarialRows", "AgreementCallback", "CollapseStop", "PublishCallback"]

logger = logging.getLogger(__name__)


class AgreementCallback(TrainerCallback):
    """At each evaluation and at the end: agreement with the teacher on some texts, and scores where there are labels.

    Texts and labels are the user's; `zskd.pipeline` never installs this callback. Results are logged, added to
    ``history`` and appended to the Trainer's ``state.log_history``.

    Args:
        task: whose labels and metrics are meant.
        teacher: asked once, when the callback is made.
        texts: one list of texts, or two of equal length for pairs.
        labels: gold classes ``(texts,)``, in the task's order; None for agreement alone.
        max_length: tokens; default: the task's.

    Attributes:
        history: one report for each evaluation and for the end.

    Example:
        `teacher`, `student`, `tokenizer` and `texts` are there already.

        >>> import zskd
        >>> callback = zskd.AgreementCallback(zskd.TASKS["sst2"], teacher, (texts,), labels=[0] * len(texts))
        >>> report = callback.report(student, tokenizer)
        >>> 0 <= report["agreement"] <= 1 and 0 <= report["accuracy"] <= 1
        True
    """

    def __init__(
        self,
        task: Task,
        teacher: Teacher,
        texts: tuple[list[str], ...],
        labels: list[int] | None = None,
        max_length: int | None = None,
    ) -> None:
        self.task, self.texts, self.labels = task, texts, labels
        self.max_length = max_length or task.max_length
        cuts = Cuts(self.max_length)
        self.teacher_logits = teacher.logits(texts, max_length=self.max_length, cuts=cuts)
        cuts.tell("agreement with the teacher", "texts")
        self.history: list[dict[str, Any]] = []

    def report(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """``agreement``, ``agreement_above_chance`` and, with labels, the task's metrics."""
        was_training = model.training
        student = classifier_from(self.task, getattr(model, "module", model), tokenizer, name="student", frozen=False)
        logits = student.logits(self.texts, max_length=self.max_length)
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


class PublishCallback(TrainerCallback):
    """Puts the model of any Trainer on the Hub when training has ended: weights, configuration, tokenizer and a card.

    Unlike ``push_to_hub=True`` of a stock Trainer it sends nothing else of the output folder. Repository and token are
    checked when the callback is made. The commit goes on top of whatever the repository holds. With
    ``load_best_model_at_end`` the best model is sent. Not for models that are sharded over processes.

    Args:
        repo_id: ``USER/NAME``.
        public: visible to everybody; an existing public repository is refused without it.
        token: default: ``HF_TOKEN`` or the token of ``hf auth login``.
        metadata: of the card, see `zskd.training.trainer_card.trainer_card`.

    Attributes:
        commit: what was published, None before.

    Raises:
        InputError: a wrong name, no token, one that cannot write, or no Hub. At the end of training also RunError; the
            model is then still in the Trainer.

    Example:
        >>> PublishCallback("no repository")
        Traceback (most recent call last):
        ...
        zskd.errors.InputError: repo_id no repository: ...
    """

    def __init__(self, repo_id: str, *, public: bool = False, token: str | None = None, **metadata: Any) -> None:
        check_repo_id(repo_id, flag="repo_id")
        self.repo_id, self.public, self.metadata = repo_id, public, metadata
        self._token = token or read_token()
        check_access(repo_id, self._token, flag="repo_id")
        self.commit: Any = None

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Publish, from the first process."""
        if not state.is_world_process_zero:
            return
        model = getattr(kwargs["model"], "module", kwargs["model"])
        with tempfile.TemporaryDirectory() as temporary:
            model.save_pretrained(temporary)
            save_tokenizer(kwargs["processing_class"], model.config, temporary)
            card = trainer_card(args, state, model, self.repo_id, **self.metadata)
            self.commit = push_model(Path(temporary), card, self.repo_id, token=self._token, public=self.public)
