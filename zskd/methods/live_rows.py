"""The common part of methods that change some rows of a batch and ask the live teacher about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.methods.context import Batch, Run
from zskd.methods.embedding_space import TableMap
from zskd.methods.method import Method
from zskd.methods.notes import Notes
from zskd.methods.step import Step
from zskd.models import entry
from zskd.models.segments import gives_segments
from zskd.models.vocabulary import require_one_vocabulary
from zskd.teacher.classifier import Classifier
from zskd.teacher.live import LiveOutput


class LiveRows(Method):
    """Counts what the live teacher is asked, and refuses models that do not read the same token ids.

    Attributes:
        special: token ids that are never changed.
        notes: what is to be logged.
    """

    wants_live_teacher = True
    special: torch.Tensor

    def __init__(self) -> None:
        self._queries = self._asked = 0
        self.notes = Notes(self.name)

    def prepare(self, run: Run) -> None:
        """Look at both models.

        Raises:
            InputError: the teacher has no weights, the models have no common vocabulary, or one of them is of a family
                whose word embeddings cannot be entered.
            ValueError: the trainer was given no tokenizer (``processing_class``).
        """
        self.teacher_of(run)

    def teacher_of(self, run: Run) -> Classifier:
        """The teacher with its weights, after the checks of `prepare`."""
        if run.teacher is None:
            raise ValueError(f"{self.name}: expected a teacher with weights (ZeroShotTrainer(teacher=...)), found none")
        teacher = run.teacher.require_weights(f"--method {self.name}")
        tokenizer = self._tokenizer(run)
        require_one_vocabulary(teacher.tokenizer, tokenizer, why=f"--method {self.name}")
        pair = run.task is not None and run.task.is_pair
        if pair and gives_segments(teacher.tokenizer) and not gives_segments(tokenizer):
            raise InputError(
                f"--method {self.name}: expected a student whose tokenizer gives segments, as the teacher's does, "
                "found one without; use --student build"
            )
        entry.check_entry(run.student, "--student")
        self.special = special_ids(tokenizer)
        return teacher

    def _tokenizer(self, run: Run) -> PreTrainedTokenizerBase:
        if run.tokenizer is None:
            raise ValueError(f"{self.name}: expected a tokenizer (processing_class), found none")
        return run.tokenizer

    def ask(self, step: Step, batch: Batch, embeds: torch.Tensor | None = None, **more: Any) -> LiveOutput:
        """The live teacher's answer for rows of a batch; counts it.

        Args:
            batch: ``attention_mask`` and, where the rows have segments, ``token_type_ids`` of these rows (`part_of`).
            embeds: their word embeddings. Without these and ``states``, ``input_ids`` of the batch are read.
            more: see `zskd.LiveTeacher.forward`.
        """
        assert step.teacher is not None
        mask = batch["attention_mask"]
        ids = batch["input_ids"] if embeds is None and "states" not in more else None
        self._asked += len(mask)
        return step.teacher.forward(ids=ids, embeds=embeds, mask=mask, segments=batch.get("token_type_ids"), **more)

    def last_states(self, batch: Batch, step: Step) -> tuple[torch.Tensor, torch.Tensor] | None:
        """This step's rows and the teacher's last states of them; None if there is none.

        They are of what the student reads, mixed where a row has a partner.

        Returns:
            Indices ``(rows,)`` in the micro-batch, and states ``(rows, tokens, width)``.
        """
        if not len(found := step.rows(self.row_share)):
            return None
        assert step.teacher is not None
        rows = torch.from_numpy(found).to(batch["input_ids"].device)
        mixed = embedded(batch, rows, step.teacher.embeddings) if "partner" in batch else None
        answer = self.ask(step, part_of(batch, rows), mixed, want_states=True)
        assert answer.states is not None
        return rows, answer.states[-1]

    def refuse_gold(self, batch: Batch) -> None:
        """Check that no label is known of rows that are changed.

        Raises:
            ValueError: the rows have a column ``gold_label``, which would not hold any more.
        """
        if "gold_label" in batch:
            raise ValueError(f"{self.name}: rows are changed, so they cannot have the column gold_label; leave it out")

    def end_step(self, step: Step) -> dict[str, float] | None:
        """Add up what all processes have asked; returns the notes where they are due."""
        self._queries += sum(step.gather([self._asked]))
        self._asked = 0
        return self.notes.close(step)

    @property
    def queries(self) -> int:
        """Rows that the teacher was asked for, over all processes."""
        return self._queries

    def state(self) -> dict[str, Any]:
        """The count of queries and the notes."""
        return {"queries": self._queries, "notes": self.notes.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self._queries = state["queries"]
        self.notes.load_state(state["notes"])


class MovedRows(LiveRows):
    """Moves the word embeddings of its rows in the teacher's space, and the student's by what `TableMap` makes of that.

    Attributes:
        map: of the tables that both models had at the beginning; None before `prepare`.
    """

    map: TableMap | None = None

    def prepare(self, run: Run) -> None:
        """Map the teacher's table to the student's.

        Raises:
            InputError: as `LiveRows.prepare`.
        """
        teacher = self.teacher_of(run)
        self.map = TableMap.of(*(model.get_input_embeddings().weight for model in (teacher.model, run.student)))

    def students(self, movement: torch.Tensor) -> torch.Tensor:
        """The student's movement for one of the teacher's, ``(rows, tokens, width)``."""
        assert self.map is not None
        return self.map(movement)

    def files(self) -> dict[str, Any]:
        """How well the teacher's table explains the student's: R²."""
        return {f"{self.name}.json": {"fit": None if self.map is None else self.map.fit}}

    def state(self) -> dict[str, Any]:
        """Also the map: a resumed run has it from the table that the student began with."""
        return {**super().state(), "map": None if self.map is None else [self.map.matrix, self.map.fit]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        super().load_state(state)
        self.map = None if state["map"] is None else TableMap(*state["map"])


def special_ids(tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Ids ``(tokens,)`` int64 of a tokenizer's special tokens."""
    return torch.tensor(sorted({*tokenizer.all_special_ids}))


def word_ids(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Ids ``(tokens,)`` of all other tokens."""
    return np.array(sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)))


READ = ("input_ids", "attention_mask", "token_type_ids")  # of a batch, by both models


def part_of(batch: Batch, rows: torch.Tensor | slice) -> Batch:
    """What both models read of some rows: ``input_ids``, ``attention_mask`` and, where given, ``token_type_ids``."""
    return {name: batch[name][rows] for name in READ if name in batch}


def embedded(batch: Batch, rows: torch.Tensor, table: Any) -> torch.Tensor:
    """Word embeddings ``(rows, tokens, width)`` of some rows, mixed with their partners where they have any.

    Args:
        table: turns token ids into word embeddings.
    """
    own: torch.Tensor = table(batch["input_ids"][rows])
    if "partner" not in batch:
        return own
    share = batch["share"][rows][:, None, None].to(own)
    return share * own + (1 - share) * table(batch["input_ids"][batch["partner"][rows]])


def with_offset(batch: Batch, rows: torch.Tensor, offset: torch.Tensor, logits: torch.Tensor) -> Batch:
    """A batch some of whose rows are moved, and have the teacher's answer there.

    Args:
        offset: ``(rows, tokens, width)``, added to the student's word embeddings.
        logits: ``(rows, num_labels)`` of the teacher.
    """
    held = batch.get("offset")
    if held is None:
        held = offset.new_zeros(*batch["input_ids"].shape, offset.shape[-1])
    teacher_logits = batch["teacher_logits"].clone()
    teacher_logits[rows] = logits.to(teacher_logits)
    return {**batch, "offset": held.index_add(0, rows, offset), "teacher_logits": teacher_logits}
