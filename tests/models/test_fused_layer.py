"""A layer as one node: its gradient is the derivative of its values, and its first token is that of the whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zskd.models.fused_layer import Shape, layer

BATCH, TOKENS, WIDTH, INNER = 3, 5, 8, 12


def numbers(*shape: int, by: float = 1.0) -> torch.Tensor:
    return (by * torch.randn(*shape, dtype=torch.float64)).requires_grad_()


def weights() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    maps = [part for _ in range(4) for part in (numbers(WIDTH, WIDTH, by=0.5), numbers(WIDTH))]
    norms = [numbers(WIDTH), numbers(WIDTH)]
    inner = [numbers(INNER, WIDTH, by=0.5), numbers(INNER), numbers(WIDTH, INNER, by=0.5), numbers(WIDTH)]
    return (*maps, *norms, *inner, numbers(WIDTH), numbers(WIDTH))


def padding() -> torch.Tensor:
    mask = torch.zeros(BATCH, 1, 1, TOKENS, dtype=torch.float64)
    mask[1, :, :, 3:] = -1e30
    return mask


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("distances", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_the_gradient_is_the_derivative(first: bool, distances: bool, padded: bool) -> None:
    shape = Shape(heads=2, scale=0.7, eps=1e-5, first=first)
    given = [numbers(BATCH, TOKENS, WIDTH), *([numbers(2 * TOKENS - 1, WIDTH)] if distances else [])]

    def computed(hidden: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        table, maps = (others[0], others[1:]) if distances else (None, others)
        return layer(hidden, padding() if padded else None, table, maps, shape)

    assert torch.autograd.gradcheck(computed, (*given, *weights()))


@pytest.mark.parametrize("distances", [False, True])
def test_the_first_token_is_that_of_the_whole(distances: bool) -> None:
    hidden, table = numbers(BATCH, TOKENS, WIDTH), numbers(2 * TOKENS - 1, WIDTH) if distances else None
    found = {
        first: layer(hidden, padding(), table, weights(), Shape(2, 0.7, 1e-5, first=first)) for first in (False, True)
    }
    assert found[False].shape == (BATCH, TOKENS, WIDTH) and found[True].shape == (BATCH, 1, WIDTH)
    torch.testing.assert_close(found[True], found[False][:, :1], rtol=0, atol=1e-12)


def test_padding_and_distances_matter() -> None:
    hidden, table = numbers(BATCH, TOKENS, WIDTH), numbers(2 * TOKENS - 1, WIDTH)

    def computed(mask: Any, distances: Any) -> torch.Tensor:
        return layer(hidden, mask, distances, weights(), Shape(2, 0.7, 1e-5, first=False)).detach()

    plain = computed(None, None)
    assert (computed(padding(), None) - plain).abs().amax(dim=(1, 2)).gt(0.01).tolist() == [False, True, False]
    assert (computed(None, table) - plain).abs().max() > 0.01


def test_a_second_derivative_is_refused() -> None:
    hidden = numbers(BATCH, TOKENS, WIDTH)
    (gradient,) = torch.autograd.grad(
        layer(hidden, None, None, weights(), Shape(2, 0.7, 1e-5, first=True)).pow(2).sum(), hidden, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
