"""Which layer of the teacher belongs to which layer of a student with fewer layers."""

from __future__ import annotations

import torch


def layer_pairs(student: int, teacher: int) -> list[tuple[int, int]]:
    """For each layer of the student, from 1, the layer of the teacher that is as far up; last belongs to last.

    Args:
        student: number of its layers.
        teacher: number of its layers.

    Example:
        >>> layer_pairs(2, 6), layer_pairs(3, 2)
        ([(1, 3), (2, 6)], [(1, 1), (2, 1), (3, 2)])
    """
    return [(layer, max(1, round(layer * teacher / student))) for layer in range(1, student + 1)]


def standardised(states: torch.Tensor) -> torch.Tensor:
    """The teacher's states with mean 0 and variance 1 over each token's dimensions, without weights, as a target."""
    return torch.nn.functional.layer_norm(states.detach(), states.shape[-1:])


def token_error(found: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Squared error ``(rows,)`` of states ``(rows, tokens, width)``: the mean over the dimensions and a row's tokens.

    Args:
        mask: ``(rows, tokens)``, 1 on tokens and 0 on padding, which has no part.
    """
    there = mask.to(found)
    each = (found - target).square().mean(dim=2) * there
    error: torch.Tensor = each.sum(dim=1) / there.sum(dim=1).clamp_min(1)
    return error
