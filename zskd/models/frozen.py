"""Copies of a frozen model that answer faster, and share with it the weights that need not change."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel

from zskd.models.blackbox import BlackBox
from zskd.models.classifier import Classifier


def _copy(model: PreTrainedModel, replaced: dict[int, torch.nn.Parameter]) -> PreTrainedModel:
    """A copy whose parameters are the model's own, but for those that `replaced` names by their id."""
    known: dict[int, Any] = {id(weight): weight for weight in model.parameters()}
    made: PreTrainedModel = copy.deepcopy(model, known | replaced)
    return made


def with_half_weights(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a frozen model whose linear layers hold bfloat16 weights; the other weights are shared.

    Under autocast it computes the same bits as the model itself, which would cast all of these weights anew in every
    forward pass: autocast keeps casts of trainable weights alone.
    """
    linear = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
    halves = {
        id(weight): torch.nn.Parameter(weight.detach().bfloat16(), requires_grad=False)
        for module in linear
        for weight in module.parameters()
    }
    return _copy(model, halves)


def compiled(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a frozen model that `torch.compile` turns into machine code at its first batch; weights are shared.

    One program for batches of all shapes. On a CPU the weights become part of it, in the layout that its matrix
    products read. Its logits differ from the model's own by rounding.
    """
    made = _copy(model, {})
    on_cpu = model.device.type == "cpu"
    made.compile(dynamic=True, options={"freezing": True} if on_cpu else None)
    return made


def fast_copy(teacher: Classifier | BlackBox, precision: str, compile: bool) -> Classifier | BlackBox:
    """A teacher as it should be asked for many logits at a precision; a black box as it is."""
    if isinstance(teacher, BlackBox):
        return teacher
    model = with_half_weights(teacher.model) if precision == "bf16" else teacher.model
    return replace(teacher, model=compiled(model) if compile else model, compiled=compile)
