"""CKA: what it is for equal, turned and independent features."""

from __future__ import annotations

import pytest
import torch

from zskd.metrics.similarity import unbiased_cka


def test_it_is_1_for_equal_features_and_knows_no_rotation_or_scale() -> None:
    torch.manual_seed(0)
    features = torch.randn(12, 6)
    turned = 5 * features @ torch.linalg.qr(torch.randn(6, 6)).Q + 3
    assert unbiased_cka(features, features) == pytest.approx(1)
    assert unbiased_cka(features, turned) == pytest.approx(1, abs=1e-5)
    other = torch.randn(12, 9)
    assert unbiased_cka(features, other) == pytest.approx(unbiased_cka(turned, other), abs=1e-5)


def test_independent_features_are_not_alike_on_average() -> None:
    """The usual estimate gives 0.96 for eight rows of width 256."""
    torch.manual_seed(0)
    found = torch.tensor([unbiased_cka(torch.randn(8, 256), torch.randn(8, 256)) for _ in range(200)])
    assert abs(float(found.mean())) < 0.06


def test_too_few_rows_and_features_that_never_vary() -> None:
    with pytest.raises(ValueError, match="at least 4 rows, found 3"):
        unbiased_cka(torch.randn(3, 2), torch.randn(3, 2))
    assert unbiased_cka(torch.ones(6, 3), torch.randn(6, 3)) == 0
