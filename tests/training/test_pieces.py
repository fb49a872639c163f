"""Gradients of a micro-batch in pieces: those of the whole for any number of threads, and always the same bits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from zskd.training.pieces import LEAST_ROWS, Pieces, gradients

WEIGHTS = [
    torch.nn.Parameter(torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)),
    torch.nn.Parameter(torch.ones(4)),
]
UNUSED = torch.nn.Parameter(torch.ones(2))


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def batch(rows: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return {"x": torch.randn(rows, 3, generator=generator, dtype=torch.float64)}


def loss(rows: dict[str, torch.Tensor]) -> torch.Tensor:
    return (rows["x"] @ WEIGHTS[0] * WEIGHTS[1]).tanh().sum(dim=1).mean()


@pytest.mark.parametrize(("count", "rows"), [(2, 64), (3, 64), (2, 63), (4, 67), (2, LEAST_ROWS), (2, 5)])
def test_pieces_have_the_gradients_of_the_whole(count: int, rows: int) -> None:
    expected = gradients(loss, batch(rows), [*WEIGHTS, UNUSED])
    with Pieces(count, 64) as pieces:
        assert pieces.count == count
        found = pieces.gradients(loss, batch(rows), [*WEIGHTS, UNUSED])
        again = pieces.gradients(loss, batch(rows), [*WEIGHTS, UNUSED])
    torch.testing.assert_close(found[0], expected[0])
    assert found[1][2] is None and expected[1][2] is None
    for one, two, three in zip(found[1][:2], expected[1][:2], again[1][:2], strict=True):
        torch.testing.assert_close(one, two)
        assert torch.equal(one, three)


def test_each_piece_has_a_thread_with_its_share_of_the_processor() -> None:
    seen: list[tuple[int, int]] = []

    def counted(rows: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append((len(rows["x"]), torch.get_num_threads()))
        return loss(rows)

    torch.set_num_threads(4)
    with Pieces(4, 32) as pieces:
        pieces.gradients(counted, batch(32), WEIGHTS)
    assert sorted(seen) == [(16, 2), (16, 2)] and torch.get_num_threads() == 4


def test_one_thread_or_few_rows_are_one_piece() -> None:
    assert Pieces(1, 64).count == Pieces(2, 2 * LEAST_ROWS - 1).count == 1
    assert Pieces(8, 64).count == 64 // LEAST_ROWS


def test_weights_that_share_a_gradient_do_not_get_it_twice() -> None:
    pair = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]

    def both(rows: dict[str, torch.Tensor]) -> torch.Tensor:
        return ((pair[0] + pair[1]) * rows["x"][:, :2]).sum(dim=1).mean()

    ones = {"x": torch.ones(64, 3)}
    with Pieces(2, 64) as pieces:
        _, found = pieces.gradients(both, ones, pair)
    assert [gradient.tolist() for gradient in found] == [[1.0, 1.0]] * 2


def test_an_error_in_another_thread_is_raised_here() -> None:
    def fails(rows: dict[str, torch.Tensor]) -> torch.Tensor:
        if rows["x"][0, 0] == 32:
            raise ValueError("in the second piece")
        return loss(rows)

    rows = {"x": torch.arange(64, dtype=torch.float64).view(64, 1).expand(64, 3)}
    with Pieces(2, 64) as pieces, pytest.raises(ValueError, match="in the second piece"):
        pieces.gradients(fails, rows, WEIGHTS)
