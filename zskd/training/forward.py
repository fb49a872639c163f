"""The student's forward pass. The student receives its own inputs and no other column of a batch."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from zskd.methods.method import Batch, StudentOutput
from zskd.transfer.collator import VIEW

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def model_inputs(model: torch.nn.Module, processing_class: Any = None) -> tuple[str, ...]:
    """Names of the inputs that a student may see: outputs of its tokenizer that its ``forward`` accepts.

    Other columns of a batch (teacher logits, gold labels, origins) never reach the student.

    Args:
        model: the student, not wrapped.
        processing_class: the tokenizer, if there is one.
    """
    given = dict.fromkeys((*_INPUTS, *getattr(processing_class, "model_input_names", ())))
    taken = inspect.signature(model.forward).parameters
    return tuple(name for name in given if name in taken)


def student_forward(
    model: torch.nn.Module, student: PreTrainedModel, batch: Batch, names: tuple[str, ...], *, want_states: bool = False
) -> StudentOutput:
    """Run the wrapped model once, on a micro-batch and its second view together.

    Args:
        model: the student as wrapped by the trainer.
        student: the student without a wrapper; ``offset`` and ``partner`` change its word embeddings.
        names: result of `model_inputs`.
        want_states: also return hidden states.
    """
    inputs = {name: batch[name] for name in names if name in batch}
    rows = len(batch["input_ids"])
    views = {name: batch[VIEW + name] for name in names if VIEW + name in batch}
    if views:
        inputs = {name: _below(inputs[name], views[name]) for name in inputs if name in views}
    more = {"output_hidden_states": True} if want_states else {}
    with _changed_embeddings(student, batch):
        output = model(**inputs, **more)
    states = tuple(output.hidden_states) if want_states else None
    mask = inputs.get("attention_mask")

    def part(start: int, end: int | None, view: StudentOutput | None = None) -> StudentOutput:
        return StudentOutput(
            logits=output.logits[start:end],
            states=None if states is None else tuple(state[start:end] for state in states),
            mask=None if mask is None else mask[start:end],
            view=view,
        )

    if not views:
        return StudentOutput(output.logits, states, mask)
    return part(0, rows, part(rows, None))


def _below(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Concatenate two batches along the rows, padded with zeros to the same width."""
    width = max(one.shape[1], other.shape[1])
    return torch.cat([functional.pad(part, (0, width - part.shape[1])) for part in (one, other)])


@contextlib.contextmanager
def _changed_embeddings(student: PreTrainedModel, batch: Batch) -> Iterator[None]:
    """During a forward pass, add ``offset`` to the word embeddings of a batch, or mix those of two rows.

    The embeddings are looked up inside the forward pass, so the table receives its gradient.
    """
    offset, partner = batch.get("offset"), batch.get("partner")
    if offset is None and partner is None:
        yield
        return

    def changed(module: torch.nn.Module, arguments: Any, found: torch.Tensor) -> torch.Tensor:
        rows = found[: len(batch["input_ids"])]
        if partner is not None:
            share = batch["share"].to(rows.dtype).view(-1, 1, 1)
            rows = share * rows + (1 - share) * rows[partner]
        if offset is not None:
            rows = rows + functional.pad(offset.to(rows.dtype), (0, 0, 0, rows.shape[1] - offset.shape[1]))
        return torch.cat([rows, found[len(rows) :]])

    handle = student.get_input_embeddings().register_forward_hook(changed)
    try:
        yield
    finally:
        handle.remove()
