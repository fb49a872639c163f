"""One layer of a small encoder as a single node of autograd, with its gradient written out.

In a student, an operation takes about as long as Python and autograd need to start it. A layer of BERT or DeBERTa has
some forty operations forward and eighty backward; here it has half of them, and autograd sees one.

The layer is x -> a = norm(x + attention(x)), a -> norm(a + map(gelu(map(a)))), without dropout, in float32 or float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from zskd.models.fast_attention import by_distance, distance_bias, split_heads

aten = torch.ops.aten


@dataclass(frozen=True)
class Shape:
    """What is not a tensor.

    Attributes:
        heads: of the attention.
        scale: by which scores are multiplied.
        eps: of both norms.
        first: compute the first token only.
    """

    heads: int
    scale: float
    eps: float
    first: bool


def layer(
    hidden: torch.Tensor,
    mask: torch.Tensor | None,
    distances: torch.Tensor | None,
    weights: tuple[torch.Tensor, ...],
    shape: Shape,
) -> torch.Tensor:
    """Compute a layer.

    Args:
        hidden: ``(batch, tokens, width)``.
        mask: added to the scores, ``(batch, 1, 1, tokens)``.
        distances: ``(2 tokens - 1, width)``, DeBERTa's states of distances in the order of
            `zskd.models.fast_attention.distance_rows`, which the maps of queries and keys are applied to; None without.
        weights: weight and bias of the maps to queries, keys and values, of the map after attention, of the first norm,
            of the two maps between the norms, and of the second norm.

    Returns:
        ``(batch, tokens, width)``, or ``(batch, 1, width)`` of the first token.
    """
    found: torch.Tensor = _Layer.apply(hidden, mask, distances, shape, *weights)
    return found


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        mask: torch.Tensor | None,
        distances: torch.Tensor | None,
        shape: Shape,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        attention = _attend_first if shape.first else _attend
        mixed, kept = attention(hidden, mask, distances, weights[:6], shape)
        through = hidden[:, 0] if shape.first else hidden.reshape(-1, hidden.shape[-1])
        found, more = _after(mixed, through, weights[6:], shape.eps)
        ctx.shape, ctx.counts = shape, (len(kept), distances is not None)
        ctx.save_for_backward(hidden, *kept, *more, *weights)
        return found.view(hidden.shape[0], -1, hidden.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        shape: Shape = ctx.shape
        count, positions = ctx.counts
        hidden, *saved = ctx.saved_tensors
        kept, more, weights = saved[:count], saved[count:-16], saved[-16:]
        mixed, through, after = _after_backward(gradient.reshape(-1, gradient.shape[-1]), more, weights[6:])
        attention = _attend_first_backward if shape.first else _attend_backward
        states, table, before = attention(mixed, hidden, kept, weights[:6], shape, positions)
        states = states.view_as(hidden)
        if shape.first:
            states[:, 0] += through
        else:
            states += through.view_as(hidden)
        return states, None, table, None, *before, *after


# After attention


def _after(mixed: Any, through: Any, weights: Any, eps: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
    out, out_bias, norm, norm_bias, up, up_bias, down, down_bias, last, last_bias = weights
    width = list(norm.shape)
    summed = torch.addmm(out_bias, mixed, out.t()).add_(through)
    middle, mean, rstd = aten.native_layer_norm(summed, width, norm, norm_bias, eps)
    raised = torch.addmm(up_bias, middle, up.t())
    active = functional.gelu(raised)
    ending = torch.addmm(down_bias, active, down.t()).add_(middle)
    found, last_mean, last_rstd = aten.native_layer_norm(ending, width, last, last_bias, eps)
    return found, [mixed, summed, mean, rstd, middle, raised, active, ending, last_mean, last_rstd]


def _after_backward(gradient: Any, kept: Any, weights: Any) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Gradients of what attention gave, of what went past it, and of the weights."""
    out, _, norm, norm_bias, up, _, down, _, last, last_bias = weights
    mixed, summed, mean, rstd, middle, raised, active, ending, last_mean, last_rstd = kept
    width, every = list(norm.shape), [True, True, True]
    ending, *lasts = aten.native_layer_norm_backward(
        gradient, ending, width, last_mean, last_rstd, last, last_bias, every
    )
    raised = aten.gelu_backward(ending @ down, raised)
    downs, ups = [ending.t() @ active, ending.sum(0)], [raised.t() @ middle, raised.sum(0)]
    summed, *norms = aten.native_layer_norm_backward(
        torch.addmm(ending, raised, up), summed, width, mean, rstd, norm, norm_bias, every
    )
    return summed @ out, summed, [summed.t() @ mixed, summed.sum(0), *norms, *ups, *downs, *lasts]


# Attention of all tokens


def _rows(parts: list[torch.Tensor], target: torch.Tensor) -> None:
    """Write tensors of heads into rows: the reverse of `split_heads`."""
    heads, batch, tokens, size = parts[0].shape
    view = target.view(batch, tokens, len(parts), heads, size)
    for i, part in enumerate(parts):
        view[:, :, i].copy_(part.permute(1, 2, 0, 3))


def _of_distances(mapped: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows ``(distances, width)`` as ``(heads, distances, size)``."""
    return mapped.view(len(mapped), heads, -1).transpose(0, 1).contiguous()


def _softmax(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Of scores ``(heads, batch, queries, tokens)``, which are changed."""
    if mask is not None:
        scores += mask.transpose(0, 1)
    return scores.softmax(-1)


def _attend(hidden: Any, mask: Any, distances: Any, weights: Any, shape: Shape) -> tuple[torch.Tensor, list[Any]]:
    batch, tokens, width = hidden.shape
    count = batch * tokens
    states = hidden.reshape(count, width)
    states = states if distances is None else torch.cat([states, distances])
    joined = torch.cat(weights[::2])
    mapped = torch.addmm(torch.cat(weights[1::2]), states, joined.t())
    query, key, value = split_heads(mapped[:count], batch, 3, shape.heads)
    query *= shape.scale
    pairs = (shape.heads * batch, tokens, -1)
    scores = torch.bmm(query.view(pairs), key.view(pairs).transpose(1, 2)).view(shape.heads, batch, tokens, tokens)
    positions: list[torch.Tensor] = []
    if distances is not None:
        pos_query = _of_distances(mapped[count:, :width], shape.heads).mul_(shape.scale)
        pos_key = _of_distances(mapped[count:, width : 2 * width], shape.heads)
        positions = [pos_query, pos_key]
        scores += distance_bias(query, key, pos_key, pos_query)
    probabilities = _softmax(scores, mask)
    mixed = torch.bmm(probabilities.view(pairs), value.view(pairs)).view(query.shape)
    return mixed.permute(1, 2, 0, 3).reshape(count, width), [
        states, joined, query, key, value, probabilities, *positions
    ]  # fmt: skip


def _attend_backward(
    gradient: Any, hidden: Any, kept: Any, weights: Any, shape: Shape, positions: bool
) -> tuple[torch.Tensor, torch.Tensor | None, list[torch.Tensor]]:
    batch, tokens, width = hidden.shape
    count, heads = batch * tokens, shape.heads
    states, joined, query, key, value, probabilities, *tables = kept
    pairs, whole = (heads * batch, tokens, -1), (heads, count, -1)
    (mixed,) = split_heads(gradient, batch, 1, heads)
    given = torch.bmm(mixed.view(pairs), value.view(pairs).transpose(1, 2)).view(probabilities.shape)
    scores = aten._softmax_backward_data(given, probabilities, -1, probabilities.dtype).view(pairs)
    values = torch.bmm(probabilities.view(pairs).transpose(1, 2), mixed.view(pairs))
    queries = torch.bmm(scores, key.view(pairs))
    keys = torch.bmm(scores.transpose(1, 2), query.view(pairs))
    rows = gradient.new_zeros(len(states), 3 * width) if positions else gradient.new_empty(count, 3 * width)
    if positions:
        pos_query, pos_key = tables
        content, position = (part.view(whole) for part in by_distance(scores))
        queries, keys = queries.view(whole), keys.view(whole)
        queries = torch.baddbmm(queries, content, pos_key)
        keys = torch.baddbmm(keys, position, pos_query.flip(1))
        found = (torch.bmm(position.transpose(1, 2), key.view(whole)).flip(1) * shape.scale,
                 torch.bmm(content.transpose(1, 2), query.view(whole)))  # fmt: skip
        for i, part in enumerate(found):
            rows[count:, i * width : (i + 1) * width].view(-1, heads, width // heads).copy_(part.transpose(0, 1))
    _rows([part.view(query.shape) for part in (queries * shape.scale, keys, values)], rows[:count])
    back = rows @ joined
    maps, biases = (rows.t() @ states).chunk(3), rows.sum(0).chunk(3)
    return (
        back[:count],
        back[count:] if positions else None,
        [x for pair in zip(maps, biases, strict=True) for x in pair],
    )


# Attention of the first token


def _attend_first(
    hidden: Any, mask: Any, distances: Any, weights: Any, shape: Shape
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    batch, tokens, width = hidden.shape
    count, heads = batch * tokens, shape.heads
    map_query, bias_query = weights[:2]
    states, firsts = hidden.reshape(count, width), hidden[:, 0]
    if distances is not None:
        distances = distances[tokens - 1 :]  # 0, -1, ...: those that the first token has to others
        states, firsts = torch.cat([states, distances]), torch.cat([firsts, distances])
    joined = torch.cat(weights[2::2])
    mapped = torch.addmm(torch.cat(weights[3::2]), states, joined.t())
    asking = torch.addmm(bias_query, firsts, map_query.t()).mul_(shape.scale).view(-1, heads, width // heads)
    key, value = split_heads(mapped[:count], batch, 2, heads)
    query = asking[:batch].transpose(0, 1).unsqueeze(2)  # (heads, batch, 1, size)
    if distances is None:
        scores = (key * query).sum(-1)
        tables: list[torch.Tensor] = []
    else:
        pos_query = asking[batch:].transpose(0, 1).unsqueeze(1)  # (heads, 1, tokens, size)
        pos_key = _of_distances(mapped[count:, :width], heads)
        query = query + pos_query
        scores = (key * query).sum(-1)
        asked = asking[:batch].transpose(0, 1)
        scores += torch.bmm(asked, pos_key.transpose(1, 2))
        tables = [asked.contiguous(), pos_key]
    probabilities = _softmax(scores.unsqueeze(2), mask).transpose(2, 3)  # (heads, batch, tokens, 1)
    mixed = (probabilities * value).sum(2).transpose(0, 1).reshape(batch, width)
    return mixed, [states, firsts, joined, query, key, value, probabilities, *tables]


def _attend_first_backward(
    gradient: Any, hidden: Any, kept: Any, weights: Any, shape: Shape, positions: bool
) -> tuple[torch.Tensor, torch.Tensor | None, list[torch.Tensor]]:
    batch, tokens, width = hidden.shape
    count, heads = batch * tokens, shape.heads
    states, firsts, joined, query, key, value, probabilities, *tables = kept
    mixed = gradient.view(batch, heads, -1).transpose(0, 1).unsqueeze(2)
    values = probabilities * mixed
    given = (value * mixed).sum(-1, keepdim=True)
    scores = probabilities * (given - (given * probabilities).sum(2, keepdim=True))
    keys, both = scores * query, scores * key
    asking = torch.empty_like(firsts).view(-1, heads, width // heads)
    own = both.sum(2)
    rows = gradient.new_empty(len(states), 2 * width)
    if positions:
        asked, pos_key = tables
        scores = scores.squeeze(-1)  # (heads, batch, tokens)
        own = own + torch.bmm(scores, pos_key)
        asking[batch:].copy_(both.sum(1).transpose(0, 1))
        rows[count:, :width].view(tokens, heads, -1).copy_(torch.bmm(scores.transpose(1, 2), asked).transpose(0, 1))
        rows[count:, width:] = 0
    asking[:batch].copy_(own.transpose(0, 1))
    asking = asking.view(firsts.shape).mul_(shape.scale)
    _rows([keys, values], rows[:count])
    back, first_back = rows @ joined, asking @ weights[0]
    found = back[:count].view(batch, tokens, width)
    found[:, 0] += first_back[:batch]
    table = None
    if positions:
        table = gradient.new_zeros(2 * tokens - 1, width)
        table[tokens - 1 :] = back[count:] + first_back[batch:]
    maps, biases = (rows.t() @ states).chunk(2), rows.sum(0).chunk(2)
    more = [x for pair in zip(maps, biases, strict=True) for x in pair]
    return found, table, [asking.t() @ firsts, asking.sum(0), *more]
