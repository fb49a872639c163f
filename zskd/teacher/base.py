"""`Teacher`, the interface of every teacher: a model with weights, an adapter, a compiled copy, or a callable.

The label cache keeps answers in the teacher's own class order; every function outside this package receives them in the
task's order.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.bulk import Meter
from zskd.models.encoding import Cuts
from zskd.system.precision import check_finite

if TYPE_CHECKING:
    from zskd.teacher.classifier import Classifier

Logits = TypeVar("Logits", np.ndarray, torch.Tensor)
Texts = tuple[list[str], ...]  # one list of texts, or two of equal length for pairs


class Teacher(ABC):
    """A classifier for one task that is asked and never trained; a finished student that is scored is one as well.

    `zskd.load_teacher` makes one of a folder, a Hub id, a model or a callable.

    Attributes:
        name: as it is shown to people.
        parameters: number of parameters, None where it is not known.
        revision: commit on the Hub, None for anything that did not come from there.
        fingerprint: hex SHA-256 of what decides the answers; it names the folder in the label cache.
        tokenizer: None where the texts are read elsewhere.
        order: for each task label, the column of the teacher's own logits that belongs to it.
        outputs: what it answers with before that is made logits of (`zskd.teacher.outputs`).

    Example:
        `teacher` is a loaded teacher of two classes.

        >>> teacher.logits((["a fine film", "a dull film"],), max_length=32).shape
        (2, 2)
    """

    name: str
    parameters: int | None
    revision: str | None
    fingerprint: str
    tokenizer: PreTrainedTokenizerBase | None
    order: tuple[int, ...]
    outputs: str = "logits"

    @property
    @abstractmethod
    def device_type(self) -> str | None:
        """``cpu``, ``cuda``, ...; None for what does not compute on this machine."""

    @abstractmethod
    def cache_key(self, precision: str, max_length: int) -> list[Any]:
        """Whatever decides the stored logits besides the texts, as values that JSON can hold."""

    @abstractmethod
    def precision(self, asked: str) -> str:
        """The precision it answers in where `asked` is asked for: what ``auto`` means, or ``its own``."""

    @abstractmethod
    def for_inference(self, precision: str, compile: bool = False) -> Teacher:
        """The same teacher as it should be asked for many logits at a precision.

        Args:
            compile: turn it into machine code with `torch.compile` (see `zskd.models.frozen.compiled`).
        """

    @abstractmethod
    def prepare(self, texts: Texts, max_length: int) -> Any:
        """Texts in the form that `own_logits` takes; bulk labelling does this for the next shard ahead of time."""

    @abstractmethod
    def own_logits(self, prepared: Any, precision: str, meter: Meter | None = None) -> np.ndarray:
        """Logits ``(rows, num_labels)`` float32 in the teacher's own class order, as the label cache keeps them."""

    @abstractmethod
    def require_weights(self, what: str) -> Classifier:
        """The teacher as a model with weights.

        Args:
            what: the option that needs them, with which the message begins.

        Raises:
            InputError: only its outputs are known.
        """

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return len(self.order)

    @property
    def asked(self) -> int | None:
        """Texts that a callable was asked for so far, failed calls included; None for what computes its answers."""
        return None

    @property
    def reading_length(self) -> int | None:
        """Tokens of an input that it reads if no length is asked for; None where nobody here knows."""
        return None

    @property
    def trained_length(self) -> int | None:
        """Tokens to which its inputs were cut in training; None if it is not recorded."""
        return None

    def length_problem(self, max_length: int, shown: str) -> str | None:
        """What keeps it from reading inputs of `max_length` tokens; always None for a callable, which cuts as it likes.

        Args:
            shown: flag and value to quote in the message.
        """
        return None

    def check_length(self, max_length: int, shown: str | None = None) -> None:
        """Check that inputs of `max_length` tokens can be read.

        Args:
            shown: flag and value to quote in the message; default: the name.

        Raises:
            InputError: it has fewer positions, or its tokenizer a lower limit.
        """
        if problem := self.length_problem(max_length, shown or self.name):
            raise InputError(problem)

    def logits(self, texts: Texts, *, max_length: int, precision: str = "fp32", cuts: Cuts | None = None) -> np.ndarray:
        """Logits ``(rows, num_labels)`` float32 in the task's class order.

        Args:
            texts: one list of texts, or two of equal length for pairs.
            max_length: tokens; longer inputs are cut. A callable cuts as it likes.
            precision: ``fp32``, or one of `zskd.system.precision.HALVES` for autocast. A callable computes as it likes.
            cuts: counts what is cut.

        Raises:
            InputError: logits that are no finite numbers; or the model cannot read `max_length` tokens.
        """
        prepared = self.prepare(texts, max_length)
        if cuts is not None:
            cuts.add(prepared, len(texts[0]))
        logits = self.own_logits(prepared, precision)
        check_finite(logits, self.name, precision)
        return self.in_task_order(logits)

    def in_task_order(self, logits: Logits) -> Logits:
        """Columns of logits ``(rows, num_labels)`` that the model itself gave, in the task's class order."""
        if isinstance(logits, torch.Tensor):
            return logits[:, _columns(self.order, logits.device)]
        return logits[:, list(self.order)]

    def states(self, texts: Texts, *, max_length: int, precision: str = "fp32") -> np.ndarray:
        """Pooled states ``(rows, hidden)`` float16: the last hidden state at the first token.

        It is what BERT's pooler reads.

        Args:
            texts: as for `logits`.
            max_length: likewise.
            precision: likewise.

        Raises:
            InputError: a callable, which shows none; or states that float16 does not hold.
        """
        model = self.require_weights("states")
        return model.own_states(model.prepare(texts, max_length), precision)

    def output_weights(self) -> torch.Tensor:
        """Rows ``(num_labels, hidden)`` of the output layer in the task's class order, float32, on the CPU.

        Raises:
            InputError: a callable, which has no weights; or a model without a linear output layer.
        """
        return self.require_weights(f"--teacher {self.name}: output layer").output_weights()


@functools.lru_cache
def _columns(order: tuple[int, ...], device: torch.device) -> torch.Tensor:
    with torch.inference_mode(mode=False):  # a tensor made in inference mode could not be used for a gradient later
        return torch.tensor(order, device=device)
