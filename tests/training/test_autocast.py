"""Scores in float32 of a model that trains in bfloat16."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from zskd.training.autocast import remove_autocast, without_autocast


def test_autocast_is_left_out_in_a_block_and_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[torch.dtype] = []

    class Noting(torch.nn.Linear):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            found = super().forward(given)
            inside.append(found.dtype)
            return found

    def dtype() -> torch.dtype:
        model(torch.ones(1, 1))
        return inside.pop()

    accelerator = Accelerator(cpu=True)
    accelerator.native_amp = True
    monkeypatch.setitem(AcceleratorState._shared_state, "_mixed_precision", "bf16")  # which all accelerators share
    model = Noting(1, 1)
    with without_autocast(model):
        assert dtype() == torch.float32
    model = accelerator.prepare_model(model)
    assert dtype() == torch.bfloat16
    with pytest.raises(ZeroDivisionError), without_autocast(model):
        assert dtype() == torch.float32
        raise ZeroDivisionError
    assert dtype() == torch.bfloat16
    remove_autocast(model)
    assert dtype() == torch.float32
    remove_autocast(model)
