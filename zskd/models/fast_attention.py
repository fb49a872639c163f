"""Attention of short rows on a CPU as a few batched matrix products, with and without terms for positions.

PyTorch's fused kernel handles each head of each row separately. For rows as short as a sentence, that costs more than
the products. Here the heads come first, so that one product handles all rows, and what depends on the distance of two
tokens is computed for each distance once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position


def project(hidden: torch.Tensor, linears: Sequence[torch.nn.Linear], heads: int) -> tuple[torch.Tensor, ...]:
    """Several linear maps of the same input as one product, split into heads.

    Args:
        hidden: ``(batch, tokens, width)``.

    Returns:
        One tensor ``(heads, batch, tokens, size)`` for each map.
    """
    weights: list[torch.Tensor] = [linear.weight for linear in linears]
    weight = torch.cat(weights) if len(weights) > 1 else weights[0]
    biases: list[torch.Tensor] = [linear.bias for linear in linears if linear.bias is not None]
    bias = None if not biases else torch.cat(biases) if len(biases) > 1 else biases[0]
    return split_heads(functional.linear(hidden, weight, bias), len(hidden), len(linears), heads)


def split_heads(mapped: torch.Tensor, batch: int, count: int, heads: int) -> tuple[torch.Tensor, ...]:
    """Split `count` maps beside each other into heads.

    Args:
        mapped: ``(batch, tokens, count * width)``, or the same as rows ``(batch * tokens, count * width)``.

    Returns:
        One tensor ``(heads, batch, tokens, size)`` for each map.
    """
    tokens = mapped.shape[:-1].numel() // batch
    return mapped.view(batch, tokens, count, heads, -1).permute(2, 3, 0, 1, 4).contiguous().unbind()


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    mask: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention without dropout.

    Args:
        query: ``(heads, batch, queries, size)``; key and value have ``tokens`` instead of ``queries``.
        mask: added to the scores, ``(batch, 1, 1 or queries, tokens)``.
        bias: added to the scores, ``(heads, batch or 1, queries, tokens)``.

    Returns:
        ``(batch, queries, heads * size)``.
    """
    heads, batch, queries, size = query.shape
    tokens = key.shape[2]
    if one := queries == 1:  # products of matrices with one row take longer, most of all in the gradient
        scores = ((query * scale) * key).sum(-1).unsqueeze(2)
    else:
        scores = torch.bmm((query * scale).flatten(0, 1), key.flatten(0, 1).transpose(1, 2))
        scores = scores.view(heads, batch, queries, tokens)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores + mask.transpose(0, 1)
    # In 16 bits a softmax takes three times as long as in 32.
    exact = torch.float32 if scores.dtype in (torch.bfloat16, torch.float16) else scores.dtype
    weights = scores.softmax(-1, dtype=exact).to(value.dtype)
    if one:
        return (weights.transpose(2, 3) * value).sum(2).transpose(0, 1).reshape(batch, 1, heads * size)
    mixed = torch.bmm(weights.view(heads * batch, queries, tokens), value.flatten(0, 1))
    return mixed.view(heads, batch, queries, size).permute(1, 2, 0, 3).reshape(batch, queries, heads * size)


class _ByDistance(torch.autograd.Function):
    """Turn scores for each distance into scores for each pair of tokens, and add those of queries and of keys.

    ``content[n, i, r]`` is the score of query i for distance ``tokens - 1 - r``, ``position[n, j, r]`` that of key j
    for distance ``r - (tokens - 1)``, where a distance is i - j. Both are read with other strides; nothing is gathered.
    """

    @staticmethod
    def forward(ctx: Any, content: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        return skewed(content) + skewed(position).transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return by_distance(gradients[0])


def skewed(scores: torch.Tensor) -> torch.Tensor:
    """View contiguous scores ``(n, tokens, 2 tokens - 1)`` as ``(n, tokens, tokens)``.

    Element i, j is element i, j - i + tokens - 1 of the scores.
    """
    count, tokens, distances = scores.shape
    return scores.as_strided((count, tokens, tokens), (tokens * distances, distances - 1, 1), tokens - 1)


def by_distance(pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn the gradient of scores for pairs of tokens into those of the queries' and the keys' scores for distances.

    Args:
        pairs: ``(n, tokens, tokens)``.

    Returns:
        Two tensors ``(n, tokens, 2 tokens - 1)``, whose views by `skewed` are the pairs and the pairs transposed.
    """
    count, tokens, _ = pairs.shape
    content, position = (pairs.new_zeros(count, tokens, 2 * tokens - 1) for _ in range(2))
    skewed(content).copy_(pairs)
    skewed(position).copy_(pairs.transpose(1, 2))
    return content, position


def distance_rows(tokens: int, buckets: int, longest: int) -> torch.Tensor:
    """DeBERTa-v2's row of the table of distances for the distances ``tokens - 1`` down to ``1 - tokens``, int64.

    Args:
        buckets: of the configuration; 0 or less: one row for each distance.
        longest: the configuration's largest distance.
    """
    return (_rows if torch.compiler.is_compiling() else _kept_rows)(tokens, buckets, longest)


def _rows(tokens: int, buckets: int, longest: int) -> torch.Tensor:
    with torch.inference_mode(False), torch.no_grad():
        distances = torch.arange(tokens - 1, -tokens, -1)
        span = longest
        if buckets > 0:
            distances, span = make_log_bucket_position(distances, buckets, longest), buckets
        return (distances.long() + span).clamp(0, 2 * span - 1)


_kept_rows = functools.lru_cache(maxsize=512)(_rows)


def distance_bias(
    query: torch.Tensor, key: torch.Tensor, pos_key: torch.Tensor | None, pos_query: torch.Tensor | None
) -> Any:
    """What DeBERTa adds to the scores: query with the distance's key, and key with the distance's query.

    Args:
        query: ``(heads, batch, tokens or 1, size)``; one query is that of the first token.
        key: ``(heads, batch, tokens, size)``.
        pos_key, pos_query: ``(heads, 2 tokens - 1, size)``, scaled, in the order of `distance_rows`; None if the model
            does without.

    Returns:
        ``(heads, batch, queries, tokens)``.
    """
    heads, batch, queries, size = query.shape
    tokens = key.shape[2]
    if queries == 1 != tokens:  # distances 0, -1, ... are the last rows
        found = None
        if pos_key is not None:
            found = torch.bmm(query.view(heads, batch, size), pos_key[:, tokens - 1 :].transpose(1, 2)).unsqueeze(2)
        if pos_query is not None:
            own = (key * pos_query[:, None, tokens - 1 :]).sum(-1).unsqueeze(2)
            found = own if found is None else found + own
        return found
    shape = (heads * batch, tokens, 2 * tokens - 1)
    parts = []
    for content, table in ((query, pos_key), (key, None if pos_query is None else pos_query.flip(1))):
        if table is None:
            parts.append(query.new_zeros(shape))
        else:
            parts.append(torch.bmm(content.reshape(heads, batch * tokens, size), table.transpose(1, 2)).view(shape))
    return _ByDistance.apply(*parts).view(heads, batch, tokens, tokens)
