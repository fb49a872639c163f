"""Muon: singular values, the size of a step, and PyTorch's own as the reference."""

from __future__ import annotations

import copy

import pytest
import torch

from zskd.training.muon import Muon, orthogonal

SHAPES = ((6, 4), (4, 6), (5, 5), (6, 4), (1, 3))


def weights(dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in SHAPES]


def stepped(made: torch.optim.Optimizer, count: int = 4) -> list[torch.Tensor]:
    torch.manual_seed(1)
    for number in range(count):
        for weight in (weight for group in made.param_groups for weight in group["params"]):
            weight.grad = torch.randn(weight.shape).to(weight.dtype) * 10.0**number
        made.step()
    return [weight.detach() for group in made.param_groups for weight in group["params"]]


@pytest.mark.parametrize("shape", [(3, 40, 20), (2, 20, 40), (1, 30, 30)])
def test_singular_values_move_to_about_one_and_directions_stay(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape, dtype=torch.float64)
    found = orthogonal(matrices)
    assert found.shape == matrices.shape and found.dtype == matrices.dtype
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    inside = left.mT @ found @ right.mT
    moved = torch.diagonal(inside, dim1=1, dim2=2)
    large = values > 0.05 * values.amax(dim=1, keepdim=True)
    assert ((moved > 0.6) & (moved < 1.3))[large].all()
    assert (inside - torch.diag_embed(moved)).abs().max() < 1e-4, "the singular vectors are the same"
    assert torch.equal(orthogonal(torch.zeros(shape)), torch.zeros(shape))


def test_the_size_of_a_matrix_changes_nothing_and_its_neighbours_neither() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, 6, 4)
    found = orthogonal(matrices)
    torch.testing.assert_close(orthogonal(matrices * torch.tensor([1e-3, 1.0, 1e4])[:, None, None]), found)
    torch.testing.assert_close(torch.cat([orthogonal(one[None]) for one in matrices]), found)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch has Muon from 2.9 on")
def test_it_is_pytorchs_muon_but_for_its_rounding_to_bfloat16() -> None:
    theirs, ours = weights(), weights()
    reference = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    before = weights()
    for found, expected, first in zip(
        stepped(Muon(ours, lr=0.1, weight_decay=0.05)), stepped(reference), before, strict=True
    ):
        assert (found - expected).norm() < 0.02 * (expected - first).norm()
    assert [set(reference.state[one]) for one in theirs] == [{"momentum_buffer"}] * len(SHAPES)


def test_groups_have_their_own_rates_and_a_state_that_comes_back() -> None:
    first, second = weights(), weights()
    groups = [{"params": first[:2], "lr": 0.0}, {"params": first[2:], "lr": 0.1}]
    made = Muon(groups, weight_decay=0.0)
    found = stepped(made)
    assert all(map(torch.equal, found[:2], weights()[:2])) and not any(map(torch.equal, found[2:], weights()[2:]))
    again = Muon([{"params": second[:2], "lr": 0.0}, {"params": second[2:], "lr": 0.1}], weight_decay=0.0)
    for weight, value in zip(second, found, strict=True):
        weight.data.copy_(value)
    again.load_state_dict(copy.deepcopy(made.state_dict()))
    assert all(map(torch.equal, stepped(made), stepped(again)))


def test_weights_without_a_gradient_stay_and_a_closure_gives_the_loss() -> None:
    first, second, *_ = found = weights()
    made = Muon(found, lr=0.1)

    def closure() -> torch.Tensor:
        made.zero_grad()
        loss = first.square().sum()
        loss.backward()
        return loss

    before = weights()
    assert torch.equal(made.step(closure), before[0].square().sum())
    assert not torch.equal(first, before[0]) and torch.equal(second, before[1])


def test_half_precision_weights_keep_their_dtype() -> None:
    found = stepped(Muon(weights(torch.bfloat16), lr=0.1))
    assert {one.dtype for one in found} == {torch.bfloat16}


def test_other_weights_than_matrices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected matrices, found a weight of shape \(3,\)"):
        Muon([torch.nn.Parameter(torch.zeros(3))])
