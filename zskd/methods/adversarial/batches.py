"""Adversarial rows for any Trainer: a data set whose rows a callback rewrites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from zskd.methods.adversarial.writer import Writer
from zskd.methods.step import Step
from zskd.system.seeds import Stream, generator
from zskd.transfer.collator import ID_COLUMNS, TransferCollator, unpadded_rows


class AdversarialBatches(TrainerCallback):
    """Feeds a Trainer with rows that are rewritten against the model while it trains.

    Hand `rows` to the Trainer as ``train_dataset`` and this object as a callback. Every ``every`` optimizer steps the
    next ``count`` rows are rewritten with the model as it is, the teacher labels them, the generator learns once, and
    the rows are served in this form from then on; a row that is rewritten again starts from its original text. In
    several processes each does the same work and has the same rows.

    Args:
        writer: `zskd.methods.adversarial.gradient.GradientAdversary` or
            `zskd.methods.adversarial.candidates.CandidateAdversary`.
        rows: mappings with ``input_ids``, for pairs ``token_type_ids``, and ``teacher_logits`` ``(num_labels,)`` in
            the order of the model's labels.
        every: optimizer steps between two turns.
        count: rows of a turn.
        seed: of the order of rows, of masks and of noise.

    Attributes:
        rows: the rows in their present form.
        divergences: the mean divergence of each turn's rows.

    Example:
        `teacher` is a loaded teacher with weights.

        >>> import zskd
        >>> writer = zskd.GradientAdversary(zskd.build_generator(teacher), teacher)
        >>> feed = zskd.AdversarialBatches(writer, list(zskd.transfer_rows(teacher, (texts,))), every=5, count=16)
        >>> len(feed.rows) == len(texts), sorted(feed.rows[0])
        (True, ['attention_mask', 'input_ids', 'labels', 'teacher_logits'])
    """

    def __init__(
        self, writer: Writer, rows: Sequence[dict[str, Any]], *, every: int = 10, count: int = 64, seed: int = 0
    ) -> None:
        self.writer, self.every, self.count, self.seed = writer, every, count, seed
        self.originals = list(rows)
        self.rows = AdversarialRows(self.originals)
        self.divergences: list[float] = []
        self.optimizer = writer.make_optimizer()
        self.collate = TransferCollator.of(writer.tokenizer)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: PreTrainedModel | None = None,
        **kwargs: Any,
    ) -> None:
        """Rewrite the next rows."""
        if state.global_step % self.every or model is None:
            return
        was_training = model.training
        device = next(model.parameters()).device
        self.writer.to(device)
        turn = state.global_step // self.every - 1
        chosen = self._chosen(turn)
        batch = {
            name: tensor.to(device)
            for name, tensor in self.collate([self.originals[i] for i in chosen]).items()
            if name != "teacher_logits"
        }
        step = Step(
            number=state.global_step,
            total=state.max_steps,
            seed=self.seed,
            places=chosen,
            whole=len(chosen),
            progress=state.global_step / max(1, state.max_steps),
        )
        student = getattr(model, "module", model)
        written = self.writer.rewrite(student, batch, step, learn=True)
        model.train(was_training)
        assert written.loss is not None and written.divergence is not None
        gradients = torch.autograd.grad(written.loss, self.writer.trainable(), allow_unused=True)
        self.writer.step(self.optimizer, list(gradients))
        new = unpadded_rows({**written.inputs, "teacher_logits": written.teacher_logits})
        for i, row in zip(chosen.tolist(), new, strict=True):
            self.rows.replace(i, {name: value.tolist() for name, value in row.items()})
        self.divergences.append(float(written.divergence.mean()))

    def _chosen(self, turn: int) -> np.ndarray:
        """The rows of a turn: through a new order of all rows after each time around."""
        count = min(self.count, len(self.originals))
        around, start = divmod(turn * count, len(self.originals) - len(self.originals) % count)
        order = generator(Stream.TURNS, self.seed, around).permutation(len(self.originals))
        chosen: np.ndarray = order[start : start + count]
        return chosen


class AdversarialRows(Dataset[dict[str, Any]]):
    """The rows of `AdversarialBatches`, each in its latest rewritten form.

    A row has ``input_ids``, ``attention_mask``, for pairs ``token_type_ids``, ``labels`` (the teacher's class, for a
    plain Trainer) and ``teacher_logits`` (for `zskd.ZeroShotTrainer`; a plain Trainer leaves them out).
    """

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._rows[index]
        names = [name for name in (*ID_COLUMNS, "teacher_logits") if name in row]
        return {
            **{name: row[name] for name in names},
            "attention_mask": [1] * len(row["input_ids"]),
            "labels": int(np.argmax(row["teacher_logits"])),
        }

    def replace(self, index: int, row: dict[str, Any]) -> None:
        """Replace the row at an index."""
        self._rows[index] = row
