"""The live teacher: it answers token ids, embeddings or states during training, with a gradient to the latter two.

Bulk labels come from the cache (`zskd.teacher.labelling`). Methods that make inputs while the student trains ask the
live teacher. Every answer is counted: one query is the forward pass of one row.

Example:
    `teacher` is a `Classifier`, `ids` and `mask` are a batch of token ids ``(2, 4)`` and its mask.

    >>> live = LiveTeacher(teacher)
    >>> embeds = live.embeddings(ids).requires_grad_()
    >>> answer = live.forward(embeds=embeds, mask=mask, grad=True)
    >>> answer.logits.logsumexp(dim=-1).sum().backward()
    >>> embeds.grad.shape == embeds.shape, live.queries, live.backwards
    (True, 2, 2)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from zskd.errors import InputError
from zskd.models import entry
from zskd.models.fast_layers import make_fast
from zskd.models.frozen import with_half_weights
from zskd.models.segments import gives_segments
from zskd.system.precision import HALVES, autocast, gradient_precision
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import Classifier

# Under 16-bit autocast, DeBERTa (version 1) masks attention with the lowest float32 number, which overflows.
_FLOAT32_ONLY = {"deberta"}


@dataclass(frozen=True)
class LiveOutput:
    """An answer of the live teacher.

    Attributes:
        logits: ``(batch, labels)`` float32, in the task's order of labels.
        states: hidden states ``(batch, tokens, hidden)`` float32 from the entry upwards if they were asked for, else
            None; see `zskd.models.entry.Output`.
    """

    logits: torch.Tensor
    states: tuple[torch.Tensor, ...] | None = None


class _Counted(torch.autograd.Function):
    """The identity; it calls a function when a gradient passes."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, passed: Callable[[], None]) -> torch.Tensor:
        ctx.passed = passed
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        ctx.passed()
        return gradients[0], None


class LiveTeacher:
    """A frozen teacher in evaluation mode that answers ids, embeddings and states, and counts its queries.

    Args:
        teacher: its model is frozen and put into evaluation mode.
        precision: ``fp32``, ``bf16`` (autocast; linear weights are cast once) or ``fp16``, which becomes ``fp32``
            because small gradients vanish in float16. DeBERTa version 1 always computes in ``fp32``.

    Attributes:
        precision: the precision in use, ``fp32`` or ``bf16``.
        layers: number of encoder layers.
        queries: number of rows in all forward passes so far.
        backwards: number of rows in all backward passes that reached embeddings or states.

    Raises:
        InputError: the architecture has no entry points, or the precision is unknown.
    """

    def __init__(self, teacher: Classifier, precision: str = "fp32") -> None:
        if precision not in ("fp32", *HALVES):
            raise InputError(f"precision: expected one of fp32, {', '.join(HALVES)}, found {precision}")
        entry.check_entry(teacher.model, f"--teacher {teacher.name}")
        float32 = teacher.model.config.model_type in _FLOAT32_ONLY
        self.precision = "fp32" if float32 else gradient_precision(precision)
        self.layers = entry.count_layers(teacher.model)
        self._tokenizer = teacher.tokenizer
        self.queries = 0
        self.backwards = 0
        self._frozen = teacher.model.requires_grad_(False).eval()
        self._order = torch.tensor(teacher.order)
        self.to(self._frozen.device)

    def to(self, device: torch.device | str) -> LiveTeacher:
        """Move the teacher's model to a device; returns itself."""
        model = self._frozen.to(device)
        half = HALVES.get(self.precision)
        if half is not None:
            model = with_half_weights(model, half)
            make_fast(model)
        self._model = model
        self._order = self._order.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        device: torch.device = self._model.device
        return device

    @functools.cached_property
    def _gives_segments(self) -> bool:
        """A student may have been given segments that its teacher's tokenizer does not give."""
        return gives_segments(self._tokenizer)

    def embeddings(self, ids: torch.Tensor) -> torch.Tensor:
        """Word embeddings ``(batch, tokens, width)`` float32 of token ids ``(batch, tokens)``, without a gradient.

        Positions, segments and normalisation are not applied yet. This costs no query.
        """
        with torch.no_grad():
            return entry.embeddings(self._frozen, ids).float()

    def forward(
        self,
        *,
        ids: torch.Tensor | None = None,
        embeds: torch.Tensor | None = None,
        states: torch.Tensor | None = None,
        layer: int | None = None,
        mask: torch.Tensor,
        segments: torch.Tensor | None = None,
        grad: bool = False,
        want_states: bool = False,
    ) -> LiveOutput:
        """Answer a batch given as exactly one of `ids`, `embeds` and `states`; see `zskd.models.entry.forward`.

        Args:
            segments: left out where the teacher's tokenizer gives none, as when it labels texts.
            grad: let gradients reach `embeds` or `states`, even inside `torch.no_grad`. The teacher's weights never get
                a gradient. If False, nothing is kept for a backward pass.

        Raises:
            ValueError: not exactly one entry is given, `layer` does not fit, or a gradient is asked for with `ids`.
        """
        if grad and ids is not None:
            raise ValueError("grad: expected with embeds or states, found ids, which no gradient can reach")
        rows = len(mask)

        def passed() -> None:
            self.backwards += rows

        with torch.set_grad_enabled(grad), autocast(self.device.type, self.precision):
            if grad:
                embeds, states = (x if x is None else _Counted.apply(x, passed) for x in (embeds, states))
            output = entry.forward(
                self._model,
                ids=ids,
                embeds=embeds,
                states=states,
                layer=layer,
                mask=mask,
                segments=segments if segments is not None and self._gives_segments else None,
                want_states=want_states,
            )
            logits = output.logits.float()[:, self._order]
        self.queries += rows
        return LiveOutput(logits, None if output.states is None else tuple(state.float() for state in output.states))


def live_teacher(teacher: Teacher, precision: str = "fp32") -> LiveTeacher:
    """Make a live teacher of any teacher that has weights; see `LiveTeacher`.

    Raises:
        InputError: the teacher has no weights, its architecture has no entry points, or the precision is unknown.
    """
    return LiveTeacher(teacher.require_weights(f"--teacher {teacher.name}: live answers"), precision)
