"""The protocol of methods. A method is a published technique beside the objective; a run calls its hooks in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from accelerate import Accelerator
from transformers import PreTrainedModel, TrainerCallback
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.methods.step import Step
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.text.corpus import Corpus
from zskd.transfer.transfer_set import TransferSet

Batch = dict[str, torch.Tensor]

# How a row depends on the other rows of its batch. An int G means: only on the rows in its group of G adjacent places.
ROWS, MICRO = "rows", "micro"
STATE = "state.pt"  # of a method's folder in a checkpoint


@dataclass(frozen=True)
class Run:
    """What `Method.prepare` may use. A trainer that is used alone provides only part of it; the rest is None.

    Attributes:
        teacher: None if the trainer has no teacher.
        student: the student before training.
        tokenizer: the student's tokenizer.
        corpus: the out-of-domain text.
        cache: folder for files that other runs can reuse.
        precision: precision in which the teacher answers.
        max_length: maximum length of an input, in tokens.
        seed: seed of the run.
        temperature: temperature of the objective.
    """

    seed: int
    student: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None = None
    teacher: Teacher | None = None
    task: Task | None = None
    corpus: Corpus | None = None
    cache: Path | None = None
    precision: str = "fp32"
    max_length: int = 128
    temperature: float = 1.0


@dataclass(frozen=True)
class Training:
    """What `Method.begin` may use: how the trainer splits a batch.

    Attributes:
        batch_size: rows of a micro-batch in one process.
        accumulation: micro-batches per optimizer step.
        learning_rate: peak learning rate of the student.
    """

    accelerator: Accelerator
    seed: int
    batch_size: int
    accumulation: int
    temperature: float
    learning_rate: float


@dataclass(frozen=True)
class StudentOutput:
    """What the student answers to a micro-batch.

    Attributes:
        logits: ``(batch, num_labels)``.
        states: hidden states of all layers, each ``(batch, tokens, hidden)``; None unless `Method.wants_states`.
        mask: ``(batch, tokens)``, the attention mask of what was read.
        view: the answer to the second view of the rows (batch keys ``view_*``), where there is one.
    """

    logits: torch.Tensor
    states: tuple[torch.Tensor, ...] | None = None
    mask: torch.Tensor | None = None
    view: StudentOutput | None = None


class Method:
    """A method whose hooks do nothing. A method of one's own overrides those it needs (see ``examples/own_method.py``).

    The hooks are listed in the order of a run. What a method draws at random it draws from ``step.rng(place)``, so that
    accumulation, processes and resuming change nothing.

    Attributes:
        name: what the method is called in logs, and the name of its folder in a checkpoint.
        coupling: `ROWS`, `MICRO`, or a number of neighbouring places. With `MICRO` the trainer refuses accumulation and
            several processes, unless `splits` says that the method copes with both and documents how.
        wants_states: whether the student's hidden states are needed.
        wants_live_teacher: whether the trainer needs the teacher, with weights.
        folder: of a checkpoint; `name` unless set.
        prepared: whether `prepare` has been called.
        phase: what the time of `prepare` is called in ``metrics.json``; None where it takes none.
    """

    name: ClassVar[str] = ""
    folder: ClassVar[str] = ""
    wants_states: ClassVar[bool] = False
    wants_live_teacher: ClassVar[bool] = False
    splits: ClassVar[bool] = False
    phase: ClassVar[str | None] = None
    prepared: bool = False

    @property
    def coupling(self) -> str | int:
        """How a row depends on the others of its batch; a method may decide it by its options."""
        return ROWS

    # The transfer set

    def transfer_set(self, rows: TransferSet) -> TransferSet:
        """After labelling: which inputs stay and how often, and columns that are added to them."""
        return rows

    # Before training

    def prepare(self, run: Run) -> None:
        """Once, when the student is built and has learned nothing."""

    def modules(self) -> dict[str, torch.nn.Module]:
        """Once, after `prepare`: modules that are trained with the student.

        They are a parameter group of Trainer's optimizer with `learning_rate`. They start from their own random stream,
        are averaged over processes, clipped apart from the student, saved in every checkpoint, restored with the best
        one, and never published.
        """
        return {}

    @property
    def learning_rate(self) -> float | None:
        """Peak learning rate of the modules; None for the student's."""
        return None

    def begin(self, training: Training) -> None:
        """Once, when the trainer is made.

        Raises:
            ValueError: a batch is split in a way that the method cannot work with.
        """

    def callbacks(self) -> list[TrainerCallback]:
        """What a run adds to its trainer."""
        return []

    # While training

    def epoch(self, number: int, student: PreTrainedModel) -> np.ndarray | None:
        """Before each epoch: indices of the rows to go through; None for all.

        An epoch has as many updates as without the method: fewer rows are gone through again. A resumed run does not
        ask again for the epoch it is in.
        """
        return None

    def whole(self, batches: list[Batch], step: Step) -> None:
        """Once per optimizer step, before any forward pass: all micro-batches of this process."""

    def batch(self, batch: Batch, step: Step) -> Batch:
        """Before the student's forward pass of a micro-batch.

        ``input_ids`` have to stay (other ids may stand in them). The result may have, beside what the collator gives:
        ``offset`` ``(batch, tokens, width)``, added to the student's word embeddings; ``partner`` ``(batch,)`` int64
        and ``share`` ``(batch,)``, with which a row's word embeddings are mixed with those of another row of the
        micro-batch; ``view_input_ids``, ``view_attention_mask`` and so on, a second view of the rows, read in the same
        forward pass; and other ``teacher_logits`` where inputs have changed.
        """
        return batch

    def logits(self, output: StudentOutput, step: Step) -> torch.Tensor:
        """The student's logits ``(batch, num_labels)``, in training and in evaluation."""
        return output.logits

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        """A term that is added to the objective: the mean over the micro-batch, a scalar. None for none."""
        return None

    def end_step(self, step: Step) -> dict[str, float] | None:
        """After the last backward pass of a step, before the optimizer: numbers to log, if any."""
        return None

    # After training

    def finish(self, student: PreTrainedModel) -> None:
        """When training has ended and the best weights are loaded, modules included: leave a stock student."""

    def files(self) -> dict[str, Any]:
        """Files for the run folder: name -> content that JSON can hold."""
        return {}

    def card(self) -> str | None:
        """A sentence for the model card."""
        return None

    @property
    def queries(self) -> int:
        """Texts that the teacher was asked for while training, over all processes."""
        return 0

    @property
    def stopped(self) -> str | None:
        """Why the method has ended training early."""
        return None

    # Checkpoints

    def state(self) -> dict[str, Any]:
        """What a resumed run needs beside the modules: tensors, and plain values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""

    def save(self, folder: Path) -> None:
        """Write `state` into a folder of a checkpoint; a method with large parts of its own may write otherwise."""
        if state := self.state():
            folder.mkdir(parents=True, exist_ok=True)
            torch.save(state, folder / STATE)

    def load(self, folder: Path, device: torch.device) -> None:
        """Take over what `save` wrote."""
        if (folder / STATE).is_file():
            self.load_state(torch.load(folder / STATE, map_location=device, weights_only=True))
