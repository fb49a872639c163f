"""The output layer of a classifier, whose weights show which classes are similar."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from zskd.errors import InputError


def output_weights(model: PreTrainedModel, *, shown: str) -> torch.Tensor:
    """Rows ``(num_labels, hidden)`` of the output layer in the model's own class order, float32, on the CPU.

    It is the last linear layer with an output per class: ``classifier`` in BERT, ``classifier.out_proj`` in RoBERTa.

    Args:
        shown: flag and value to quote in messages.

    Raises:
        InputError: the model has no such layer.
    """
    count = model.config.num_labels
    layers = [
        module for module in model.modules() if isinstance(module, torch.nn.Linear) and module.out_features == count
    ]
    if not layers:
        raise InputError(
            f"{shown}: expected a linear output layer with {count} rows, found none; "
            "kd-sim and kd-pt+sim need it, the other objectives do not"
        )
    return layers[-1].weight.detach().float().cpu()
