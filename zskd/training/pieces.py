"""The gradients of a micro-batch, computed in pieces of it, each by a thread of its own.

PyTorch splits every operation over its threads, which wait for each other after each one, and wait actively. Beside
another busy program, training that way takes many times as long. A student's operations are short, so here each thread
takes some of the rows through the whole forward and backward pass, and waits once in a step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

Batch = dict[str, Any]
Loss = Callable[[Batch], torch.Tensor]

# Rows of a piece: a forward and backward pass of few rows takes nearly as long as one of more.
LEAST_ROWS = 16


def gradients(loss: Loss, batch: Batch, parameters: Sequence[torch.nn.Parameter]) -> tuple[torch.Tensor, list[Any]]:
    """A loss and its gradients, one for each parameter, None where there is none."""
    value = loss(batch)
    return value.detach(), list(torch.autograd.grad(value, parameters, allow_unused=True))


class Pieces:
    """Threads that compute the gradients of a micro-batch.

    Use it as a context manager: inside, PyTorch's operations in this thread have as many threads as those of a piece.

    Args:
        threads: PyTorch may use.
        rows: of a micro-batch.

    Attributes:
        count: pieces of a micro-batch of `rows`; 1 if there is nothing to split.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> rows = {"x": torch.arange(32.0)}
        >>> with Pieces(threads=2, rows=32) as pieces:
        ...     loss, found = pieces.gradients(lambda batch: (weight * batch["x"]).mean(), rows, [weight])
        >>> float(loss), found[0].tolist()
        (15.5, [15.5])
    """

    def __init__(self, threads: int, rows: int) -> None:
        self.count = max(1, min(threads, rows // LEAST_ROWS))
        self._threads, self._each = threads, threads // self.count
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Pieces:
        if self.count > 1:
            torch.set_num_threads(self._each)
            self._pool = ThreadPoolExecutor(
                self.count - 1, "piece", initializer=torch.set_num_threads, initargs=(self._each,)
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
            torch.set_num_threads(self._threads)

    def gradients(
        self, loss: Loss, batch: Batch, parameters: Sequence[torch.nn.Parameter]
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """The loss of a micro-batch and its gradients, one for each parameter, None where there is none.

        Args:
            loss: the mean of a loss over the rows of a batch; called in several threads at once.
            batch: tensors whose first dimension are the rows.
        """
        rows = len(next(iter(batch.values())))
        count = max(1, min(self.count, rows // LEAST_ROWS))
        if self._pool is None or count == 1:
            return gradients(loss, batch, parameters)
        ends = [rows * piece // count for piece in range(count + 1)]
        parts = [({k: v[a:b] for k, v in batch.items()}, (b - a) / rows) for a, b in itertools.pairwise(ends)]

        def piece(part: Batch, share: float) -> tuple[torch.Tensor, list[Any]]:
            return gradients(lambda given: loss(given) * share, part, parameters)

        others = [self._pool.submit(piece, *part) for part in parts[1:]]
        value, found = piece(*parts[0])
        for other in others:
            more, theirs = other.result()
            value, found = value + more, _sum(found, theirs)
        return value, found

    def accumulate(self, loss: Loss, batch: Batch, weights: Sequence[torch.nn.Parameter]) -> torch.Tensor:
        """Add the gradients to those of the weights, as ``backward`` does; returns the loss.

        Args:
            loss, batch: as for `gradients`.
        """
        value, found = self.gradients(loss, batch, weights)
        for weight, gradient in zip(weights, found, strict=True):
            if gradient is not None:
                weight.grad = gradient if weight.grad is None else weight.grad + gradient
        return value


def _sum(found: list[torch.Tensor | None], more: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """Sums of gradients; None is zero. Not in place: autograd may give two weights the same tensor."""
    both = [
        (i, one, two) for i, (one, two) in enumerate(zip(found, more, strict=True)) if not (one is None or two is None)
    ]
    sums = torch._foreach_add([one for _, one, _ in both], [two for _, _, two in both])
    total = [one if two is None else two for one, two in zip(found, more, strict=True)]
    for (i, _, _), summed in zip(both, sums, strict=True):
        total[i] = summed
    return total
