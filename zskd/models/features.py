"""What a classifier's output layer reads, made from its last hidden states."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from zskd.models import entry
from zskd.models.output_layer import output_layer


def features(model: PreTrainedModel, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The input ``(rows, width)`` of the output layer, with the model's own pooler and whatever else its head has.

    Args:
        states: last hidden states ``(rows, tokens, hidden)``.
        mask: ``(rows, tokens)``, 1 on tokens.

    Raises:
        InputError: the model has no entry points (`zskd.models.entry`).
        ValueError: it has no linear output layer.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> shape = dict(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=32)
        >>> model = BertForSequenceClassification(BertConfig(**shape, num_labels=3)).eval()
        >>> features(model, torch.zeros(2, 4, 16), torch.ones(2, 4)).shape
        torch.Size([2, 16])
    """
    layer, held = output_layer(model), []
    if layer is None:
        raise ValueError("expected a model with a linear output layer, found none")
    handle = layer.register_forward_pre_hook(lambda _, inputs: held.append(inputs[0]))
    try:
        entry.forward(model, states=states, layer=entry.count_layers(model), mask=mask)
    finally:
        handle.remove()
    found: torch.Tensor = held[0]
    return found
