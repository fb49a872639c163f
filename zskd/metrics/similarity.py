"""How alike two sets of features of the same rows are: centred kernel alignment (CKA) with a linear kernel."""

from __future__ import annotations

import torch

LEAST = 4  # rows


def _hsic(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The unbiased estimate of HSIC (Song et al., 2012) of two kernel matrices ``(rows, rows)``."""
    n = len(one)
    one, other = (kernel - torch.diag(kernel.diagonal()) for kernel in (one, other))
    both = (one * other).sum()
    apart = one.sum() * other.sum() / ((n - 1) * (n - 2))
    across = 2 * (one.sum(dim=0) * other.sum(dim=0)).sum() / (n - 2)
    return (both + apart - across) / (n * (n - 3))


def unbiased_cka(one: torch.Tensor, other: torch.Tensor) -> float:
    """CKA of features ``(rows, width)`` of any widths: 1 for equal ones, about 0 for independent ones.

    The usual estimate, which is biased, finds independent wide features alike where there are few rows.

    Raises:
        ValueError: fewer than 4 rows.

    Source: Kornblith et al. (2019), arXiv 1905.00414; the unbiased estimate is that of Song et al. (2012).

    Example:
        >>> features = torch.randn(16, 5)
        >>> round(unbiased_cka(features, 3 * features + 1), 4)
        1.0
    """
    if len(one) < LEAST:
        raise ValueError(f"expected at least {LEAST} rows, found {len(one)}")
    kernels = []
    for features in (one, other):
        centred = features.double() - features.double().mean(dim=0)
        kernels.append(centred @ centred.T)
    left, right = (_hsic(kernel, kernel) for kernel in kernels)
    whole = (left * right).clamp_min(0).sqrt()
    return float(_hsic(*kernels) / whole) if whole > 0 else 0.0
