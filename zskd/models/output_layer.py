"""The output layer of a classifier: the one place where its weights say which classes are alike."""

from __future__ import annotations

import torch

from zskd.errors import InputError
from zskd.teacher.classifier import Classifier


def output_weights(classifier: Classifier, *, flag: str = "--teacher") -> torch.Tensor:
    """Rows ``(num_labels, hidden)`` of the output layer in the task's class order, float32, on the CPU.

    It is the last linear layer with an output per class: ``classifier`` in BERT, ``classifier.out_proj`` in RoBERTa.

    Raises:
        InputError: the model has no such layer.
    """
    layers = [
        module
        for module in classifier.model.modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == len(classifier.order)
    ]
    if not layers:
        raise InputError(
            f"{flag} {classifier.name}: expected a linear output layer with {len(classifier.order)} rows, found none; "
            "kd-sim and kd-pt+sim need it, the other objectives do not"
        )
    return layers[-1].weight.detach().float().cpu()[list(classifier.order)]
