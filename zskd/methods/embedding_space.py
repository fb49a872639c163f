"""Inputs that are moved in the space of word embeddings: along a gradient, no further than allowed, in both models.

A movement is found in the teacher's space, where it is measured and bounded. The student, which has a table of its own,
is moved by what `TableMap` makes of it. At no movement both models read the input itself, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

_LEAST = 1e-12  # length that a division needs
Objective = Callable[[torch.Tensor], torch.Tensor]  # word embeddings (rows, tokens, width) -> (rows,)


@dataclass(frozen=True)
class TableMap:
    """What a movement of the teacher's word embeddings is for a student with another table.

    The matrix M ``(teacher width, student width)`` minimises ‖E_T M - E_S‖² over all tokens, and a movement δ_T of the
    teacher's embeddings becomes δ_S = δ_T M of the student's. Both tables are centred first, as movements are
    differences of embeddings. Where the tables have little in common, M is small and the student hardly moves.

    Attributes:
        matrix: M, float32.
        fit: R², the share of the variance of the student's table that the teacher's explains; 1 is all.

    Source: Jafari et al. (2023), arXiv 2301.12006, map the student's movement to the teacher's, with Q that minimises
    ‖E_S Q - E_T‖². A student's table is much narrower than the teacher's here, so the movement is found in the wider
    one. The pseudo-inverse of Q would map it back, but moves the student too far, and without bound where the tables
    have little in common.

    Example:
        >>> teacher = torch.randn(50, 8)
        >>> narrow = TableMap.of(teacher, teacher[:, :4])
        >>> narrow(torch.eye(8)[None]).shape, narrow.fit > 0.999
        (torch.Size([1, 8, 4]), True)
    """

    matrix: torch.Tensor
    fit: float

    @classmethod
    def of(cls, teacher: torch.Tensor, student: torch.Tensor) -> TableMap:
        """The map of two tables ``(tokens, width)``; rows beyond the end of the shorter one have no part."""
        count = min(len(teacher), len(student))
        left, right = (table[:count].detach().double().cpu() for table in (teacher, student))
        left, right = left - left.mean(dim=0), right - right.mean(dim=0)
        matrix = torch.linalg.lstsq(left, right, driver="gelsd").solution
        missed, whole = (left @ matrix - right).square().sum(), right.square().sum()
        return cls(matrix.float(), float(1 - missed / whole))

    def __call__(self, movement: torch.Tensor) -> torch.Tensor:
        """The student's movement ``(rows, tokens, student width)`` for one of the teacher's."""
        return movement @ self.matrix.to(movement)


def movable(ids: torch.Tensor, mask: torch.Tensor, special: torch.Tensor) -> torch.Tensor:
    """Which tokens may be moved, ``(rows, tokens)`` float32: neither padding nor the tokenizer's special tokens."""
    return (mask.bool() & ~torch.isin(ids, special)).float()


def radii(embeds: torch.Tensor, free: torch.Tensor, radius: float) -> torch.Tensor:
    """How far each row may be moved, ``(rows,)``: `radius` is what a token is moved by, on a root mean square.

    Args:
        embeds: word embeddings ``(rows, tokens, width)``.
        free: of `movable`.
        radius: in lengths of the row's own word embeddings, on average.
    """
    count = free.sum(dim=1)
    length = (embeds.norm(dim=2) * free).sum(dim=1) / count.clamp_min(1)
    return radius * length * count.sqrt()


def climb(
    embeds: torch.Tensor, free: torch.Tensor, most: torch.Tensor, steps: int, objective: Objective
) -> torch.Tensor:
    """Move rows uphill: `steps` steps of equal length along each row's gradient, in an L2 ball around where it began.

    Args:
        embeds: word embeddings ``(rows, tokens, width)``.
        free: what may be moved: tokens ``(rows, tokens)``, or dimensions of tokens ``(rows, tokens, width)``.
        most: ``(rows,)``, the ball's radius.
        objective: its sum over rows is differentiated; rows do not depend on each other.

    Returns:
        The movement ``(rows, tokens, width)``, no longer than `most` in any row.
    """
    free = free if free.dim() == 3 else free[..., None]
    moved = torch.zeros_like(embeds)
    for _ in range(steps):
        slope = _slope(embeds + moved, objective) * free
        length = slope.flatten(1).norm(dim=1).clamp_min(_LEAST)
        moved = moved + (most / steps)[:, None, None] * (slope / length[:, None, None])
    length = moved.flatten(1).norm(dim=1).clamp_min(_LEAST)
    return moved * (most / length).clamp_max(1.0)[:, None, None]


def climb_in_box(
    embeds: torch.Tensor, free: torch.Tensor, most: torch.Tensor, steps: int, objective: Objective
) -> torch.Tensor:
    """Move rows uphill by the sign of the gradient, every number by at most `most` ``(rows,)``.

    A step is 1.25 times what would just reach the border after all `steps`, as in the public code of IKD (Liang et al.,
    2023, arXiv 2209.09841: five steps of 2/255 to at most 8/255). The rest is as in `climb`.
    """
    free = free if free.dim() == 3 else free[..., None]
    most = most[:, None, None]
    moved = torch.zeros_like(embeds)
    for _ in range(steps):
        moved = moved + 1.25 / steps * most * free * _slope(embeds + moved, objective).sign()
        moved = moved.clamp(-most, most)
    return moved


def _slope(point: torch.Tensor, objective: Objective) -> torch.Tensor:
    with torch.enable_grad():
        point = point.detach().requires_grad_()
        (slope,) = torch.autograd.grad(objective(point).sum(), point)
    return slope
