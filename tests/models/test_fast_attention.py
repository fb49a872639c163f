"""The parts of fast attention against what they replace: maps, softmax attention, DeBERTa's terms for positions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from transformers.models.deberta.modeling_deberta import build_relative_position as first_version
from transformers.models.deberta_v2.modeling_deberta_v2 import build_relative_position as later_versions

from zskd.models.fast_attention import attend, distance_bias, distance_rows, project

HEADS, BATCH, TOKENS, SIZE = 2, 3, 7, 4


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_maps_are_those_of_each_linear_layer(count: int, bias: bool) -> None:
    linears = [torch.nn.Linear(5, HEADS * SIZE, bias=bias) for _ in range(count)]
    hidden = torch.randn(BATCH, TOKENS, 5)
    found = project(hidden, linears, HEADS)
    assert len(found) == count
    for one, linear in zip(found, linears, strict=True):
        torch.testing.assert_close(one, linear(hidden).view(BATCH, TOKENS, HEADS, SIZE).permute(2, 0, 1, 3))


@pytest.mark.parametrize("terms", ["", "mask", "bias", "shared bias", "mask and bias"])
@pytest.mark.parametrize("queries", [TOKENS, 1])
def test_attention_is_that_of_pytorch_with_its_gradient(queries: int, terms: str) -> None:
    query, key, value = drawn(HEADS, BATCH, queries, SIZE), drawn(HEADS, BATCH, TOKENS, SIZE), drawn(3, 3, 7, 4)[:HEADS]
    mask = torch.zeros(BATCH, 1, 1, TOKENS)
    mask[0, ..., 4:] = mask[1, ..., :2] = torch.finfo(torch.float32).min
    bias = drawn(HEADS, 1 if "shared" in terms else BATCH, queries, TOKENS)
    wanted = torch.zeros(HEADS, BATCH, queries, TOKENS, dtype=torch.float64)
    wanted = wanted + (mask.transpose(0, 1) if "mask" in terms else 0) + (bias if "bias" in terms else 0)
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=wanted, scale=0.7)
    expected = expected.permute(1, 2, 0, 3).flatten(2)
    found = attend(query, key, value, 0.7, mask if "mask" in terms else None, bias if "bias" in terms else None)
    torch.testing.assert_close(found, expected)
    leaves = [query, key, value, *([bias] if "bias" in terms else [])]
    weight = torch.randn_like(expected)
    for one, other in zip(*(torch.autograd.grad(each, leaves, weight) for each in (found, expected)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_stay_16_bits(dtype: torch.dtype) -> None:
    query, key, value = (torch.randn(HEADS, BATCH, TOKENS, SIZE, dtype=dtype) for _ in range(3))
    mask = torch.zeros(BATCH, 1, 1, TOKENS)
    mask[0, ..., 4:] = torch.finfo(torch.float32).min  # beyond float16, and no NaN
    found = attend(query, key, value, 0.5, mask)
    exact = attend(query.double(), key.double(), value.double(), 0.5, mask)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("tokens", [1, 2, 5, 30])
@pytest.mark.parametrize(("buckets", "longest"), [(0, 6), (-1, 6), (4, 8), (8, 16)])
def test_rows_of_distances_are_those_of_deberta(tokens: int, buckets: int, longest: int) -> None:
    """Row ``tokens - 1 - (i - j)`` belongs to query i and key j."""
    shape = torch.zeros(1, tokens, 4)
    if buckets == 0:
        relative, span = first_version(shape, shape)[0], longest
    else:
        relative = later_versions(shape, shape, bucket_size=buckets, max_position=longest)[0]
        span = buckets if buckets > 0 else longest
    rows = distance_rows(tokens, buckets, longest)
    assert rows.dtype == torch.int64 and rows.shape == (2 * tokens - 1,)
    for i in range(tokens):
        for j in range(tokens):
            wanted = min(max(int(relative[i, j]) + span, 0), 2 * span - 1)
            assert int(rows[tokens - 1 - (i - j)]) == wanted


@pytest.mark.parametrize("used", ["content", "position", "both"])
@pytest.mark.parametrize("tokens", [1, 2, TOKENS])
@pytest.mark.parametrize("first", [False, True])
def test_bias_by_distance_is_that_of_each_pair_with_its_gradient(tokens: int, used: str, first: bool) -> None:
    query, key = drawn(HEADS, BATCH, tokens, SIZE), drawn(HEADS, BATCH, tokens, SIZE)
    pos_key, pos_query = (drawn(HEADS, 2 * tokens - 1, SIZE) for _ in range(2))
    tables = (pos_key if used != "position" else None, pos_query if used != "content" else None)
    rows = []
    for i in range(1 if first else tokens):
        for j in range(tokens):
            place = tokens - 1 - (i - j)
            content = (query[:, :, i] * pos_key[:, None, place]).sum(-1)
            position = (key[:, :, j] * pos_query[:, None, place]).sum(-1)
            rows.append((0 if tables[0] is None else content) + (0 if tables[1] is None else position))
    expected = torch.stack(rows, -1).unflatten(-1, (-1, tokens))
    found = distance_bias(query[:, :, :1] if first else query, key, *tables)
    torch.testing.assert_close(found, expected)
    leaves = [query, key, pos_key, pos_query]
    weight = torch.randn_like(expected)
    grads = [torch.autograd.grad(each, leaves, weight, allow_unused=True) for each in (found, expected)]
    for leaf, one, other in zip(leaves, *grads, strict=True):
        zero = torch.zeros_like(leaf)
        torch.testing.assert_close(zero if one is None else one, zero if other is None else other)
