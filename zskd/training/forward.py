"""The student's forward pass. The student receives its own inputs and no other column of a batch."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from zskd.methods.context import Batch, StudentOutput
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

    What is computed may be changed by the batch's ``partner``, ``share`` and ``offset``, and ``view_*`` are the inputs
    of the second view: see `zskd.methods.method.Method.batch`.

    Args:
        model: as the trainer has wrapped it.
        student: not wrapped; its word embeddings are where ``offset`` is added and ``partner`` mixed in.
        names: of `model_inputs`.

    Raises:
        ValueError: the second view has other inputs than the rows, a partner has no share, or an offset has another
            shape than the word embeddings.
    """
    inputs = {name: batch[name] for name in names if name in batch}
    rows = len(batch["input_ids"])
    views = {name: batch[VIEW + name] for name in names if VIEW + name in batch}
    if views:
        if inputs.keys() != views.keys():
            raise ValueError(
                f"batch: expected the inputs {', '.join(inputs)} in the second view too (each called {VIEW}...), "
                f"found {', '.join(views)}"
            )
        inputs = {name: _below(inputs[name], views[name]) for name in inputs}
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


def _shapes(batch: Batch, *names: str) -> str:
    return ", ".join(f"{name} {tuple(batch[name].shape) if name in batch else 'missing'}" for name in names)


@contextlib.contextmanager
def _changed_embeddings(student: PreTrainedModel, batch: Batch) -> Iterator[None]:
    """During a forward pass, add ``offset`` to the word embeddings of a batch, or mix those of two rows.

    The embeddings are looked up inside the forward pass, so the table receives its gradient.
    """
    offset, partner = batch.get("offset"), batch.get("partner")
    if offset is None and partner is None:
        yield
        return
    count, tokens = batch["input_ids"].shape
    if partner is not None and ("share" not in batch or len(partner) != count or len(batch["share"]) != count):
        raise ValueError(
            f"batch: expected partner and share of {count} rows, found {_shapes(batch, 'partner', 'share')}"
        )
    width = student.get_input_embeddings().weight.shape[1]
    if offset is not None and (offset.shape[::2] != (count, width) or offset.shape[1] > tokens):
        raise ValueError(
            f"batch: expected an offset of shape ({count}, at most {tokens}, {width}), found {_shapes(batch, 'offset')}"
        )

    def changed(module: torch.nn.Module, arguments: Any, found: torch.Tensor) -> torch.Tensor:
        rows = found[:count]
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
