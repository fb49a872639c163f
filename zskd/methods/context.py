"""What the hooks of a method are given: the run, the training, and the student's output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.text.corpus import Corpus

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Run:
    """What `Method.prepare` may use. A trainer that is used alone provides only part of it; the rest is None.

    Attributes:
        seed: the run's.
        student: not trained yet.
        tokenizer: the student's; None where the trainer was given none (``processing_class``).
        teacher: None where the trainer was given none.
        task: None in a trainer that is used alone, as are
        corpus: the out-of-domain text, and
        cache: the folder of what other runs may use again.
        precision: in which the teacher answers.
        max_length: tokens of an input.
        temperature: of the objective.
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
        accelerator: the trainer's.
        seed: the run's.
        batch_size: rows of a micro-batch in one process.
        accumulation: micro-batches of an optimizer step.
        temperature: of the objective.
        learning_rate: of the student.
    """

    accelerator: Accelerator
    seed: int
    batch_size: int
    accumulation: int
    temperature: float
    learning_rate: float


@dataclass(frozen=True)
class StudentOutput:
    """What the student answers to a micro-batch; `Method.logits` and `Method.loss` receive it.

    Attributes:
        logits: ``(batch, num_labels)``.
        states: hidden states of all layers, each ``(batch, tokens, hidden)``; None unless `Method.wants_states`.
        mask: ``(batch, tokens)``, the attention mask of what was read.
        view: the answer to the second view of the rows (batch keys ``view_*``), where there is one.

    Example:
        >>> import torch
        >>> output = StudentOutput(torch.tensor([[2.0, 0.0]]))
        >>> output.logits.argmax(dim=-1).tolist(), output.view
        ([0], None)
    """

    logits: torch.Tensor
    states: tuple[torch.Tensor, ...] | None = None
    mask: torch.Tensor | None = None
    view: StudentOutput | None = None
