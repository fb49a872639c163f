"""The output layer of a classifier, whose weights show which classes are similar."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from zskd.errors import InputError
from zskd.models.labels import head_order

logger = logging.getLogger(__name__)


def output_layer(model: PreTrainedModel) -> torch.nn.Linear | None:
    """The last linear layer with an output per class that is not part of the base model; None if there is none."""
    count, inner = model.config.num_labels, set()
    if model.base_model is not model:
        inner = {id(module) for module in model.base_model.modules()}
    layers = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == count and id(module) not in inner
    ]
    return layers[-1] if layers else None


def fit_head(
    model: PreTrainedModel,
    names: list[str] | None,
    labels: Sequence[str],
    new: list[str],
    *,
    shown: str,
    level: int = logging.INFO,
) -> list[str]:
    """Put the classes of a head that was loaded into the order of the labels, by name, or draw its last layer anew.

    Args:
        names: label names that the head was saved with, in its own order; None if they are not known.
        labels: the names that it shall have.
        new: weights that are random already.
        shown: flag and value, for the log.
        level: at which the log says what was done.

    Returns:
        All weights that are new now.

    Raises:
        InputError: the model has no linear output layer.
    """
    layer, order = output_layer(model), head_order(names, labels)
    if layer is None:
        raise InputError(f"{shown}: expected a linear output layer with {len(labels)} rows, found none")
    own = {name for name, module in model.named_modules() if module is layer}
    weights = [f"{name}.{part}" for name in own for part, _ in layer.named_parameters()]
    if order is not None and not set(weights) & set(new):
        if order != sorted(order):
            logger.log(level, "%s: the classes of its head are put into the order %s", shown, ", ".join(labels))
            with torch.no_grad():
                for weight in layer.parameters():
                    weight.copy_(weight[order].clone())
    elif not set(weights) <= set(new):  # it was loaded, whole or in part, but its classes are other ones
        torch.nn.init.normal_(layer.weight, std=getattr(model.config, "initializer_range", None) or 0.02)
        if layer.bias is not None:
            torch.nn.init.zeros_(layer.bias)
        new = sorted({*new, *weights})
        if order is None:
            found = "classes without names" if names is None else ", ".join(names)
            logger.log(level, "%s: its head is for %s, not %s, and starts anew", shown, found, ", ".join(labels))
    if new:
        logger.log(level, "%s: new weights, drawn at random: %s", shown, ", ".join(new))
    return new


def output_weights(model: PreTrainedModel, *, shown: str) -> torch.Tensor:
    """Rows ``(num_labels, hidden)`` of the output layer in the model's own class order, float32, on the CPU.

    It is the last linear layer with an output per class: ``classifier`` in BERT, ``classifier.out_proj`` in RoBERTa.

    Args:
        shown: flag and value to quote in messages.

    Raises:
        InputError: the model has no such layer.
    """
    layer = output_layer(model)
    if layer is None:
        raise InputError(
            f"{shown}: expected a linear output layer with {model.config.num_labels} rows, found none; "
            "kd-sim and kd-pt+sim need it, the other objectives do not"
        )
    return layer.weight.detach().float().cpu()
