"""The terms of a generator's loss beside the divergence: where each is zero, and which way it pulls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zskd.methods.adversarial.losses import imbalance, repetition, unsureness


def test_only_an_unsure_teacher_costs_something() -> None:
    found = unsureness(torch.tensor([[0.0, 0.0], [0.1, -0.1], [2.0, -2.0]]))
    assert float(found[0]) == pytest.approx(0.1 * np.log(2)) and found[0] > found[1] > 0 and found[2] == 0


def test_imbalance_is_zero_for_an_even_mean_and_its_gradient_pulls_there() -> None:
    assert float(imbalance(torch.tensor([0.25] * 4))) == pytest.approx(0, abs=1e-6)
    assert float(imbalance(torch.tensor([1.0, 0.0]))) == pytest.approx(np.log(2))
    mean = torch.tensor([0.7, 0.3], requires_grad=True)
    imbalance(mean).backward()
    assert mean.grad[0] > mean.grad[1]


def test_repetition_is_zero_for_different_tokens_and_grows_with_repeated_ones() -> None:
    different, same = torch.full((8,), 1 / 8), torch.eye(8)[0]
    assert float(repetition(different, 8)) == pytest.approx(0, abs=1e-6)
    assert float(repetition(same, 8)) == pytest.approx(np.log(8))
    assert 0 < float(repetition(torch.tensor([0.5, *[0.5 / 7] * 7]), 8)) < np.log(8)
