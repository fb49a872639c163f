"""Faster copies of a frozen model, which share most of its weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import PreTrainedModel


def sharing_copy(model: PreTrainedModel, replaced: dict[int, torch.nn.Parameter] | None = None) -> PreTrainedModel:
    """A copy that shares the model's parameters, except those that `replaced` names by their id."""
    known: dict[int, Any] = {id(weight): weight for weight in model.parameters()}
    made: PreTrainedModel = copy.deepcopy(model, known | (replaced or {}))
    return made


def with_half_weights(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A copy of a frozen model whose linear layers have 16-bit weights; the other weights are shared.

    Under autocast to `dtype`, it computes the same bits as the model itself. Autocast caches the casts of trainable
    weights only, so the model itself would cast all frozen weights in every forward pass.
    """
    linear = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
    halves = {
        id(weight): torch.nn.Parameter(weight.detach().to(dtype), requires_grad=False)
        for module in linear
        for weight in module.parameters()
    }
    return sharing_copy(model, halves)


def compiled(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a frozen model that `torch.compile` compiles at its first batch; weights are shared.

    One program serves batches of all shapes. On a CPU the weights become part of it, in the layout that its matrix
    products need. Its logits differ from the model's by rounding.
    """
    made = sharing_copy(model)
    on_cpu = model.device.type == "cpu"
    # One thread per batch (`zskd.models.batching.each_in_a_thread`).
    made.compile(dynamic=True, options={"freezing": True, "cpp.threads": 1} if on_cpu else None)
    return made
