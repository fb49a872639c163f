"""Accelerate's autocast around a model's ``forward``: scores are computed in float32, whatever precision trains."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

_WRAPPED = "_original_forward"  # where accelerate keeps the ``forward`` that it has wrapped


@contextlib.contextmanager
def without_autocast(model: torch.nn.Module) -> Iterator[None]:
    """In the block a model computes in float32 even if accelerate has wrapped it for 16 bits."""
    if _WRAPPED not in vars(model):
        yield
        return
    wrapped, inner = vars(model)["forward"], vars(model)[_WRAPPED]
    model.forward = inner
    try:
        yield
    finally:
        model.forward = wrapped


def remove_autocast(model: torch.nn.Module) -> None:
    """Let a model that was trained in 16 bits compute in float32 from now on."""
    if _WRAPPED in vars(model):
        del model.forward, model._original_forward
