"""Forward passes that stand in for those of stock encoders' modules (`zskd.models.fast_layers`).

Each class is a mixin that is put before a stock class, so `self` has the stock module's weights. `first` is set where a
last layer computes the first token only: queries are then those of the first token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zskd.models.fast_attention import attend, distance_bias, distance_rows, project
from zskd.models.fused_layer import Shape, layer

# Self-attention


class Bert(torch.nn.Module):
    """Self-attention of BERT, RoBERTa, XLM-RoBERTa, CamemBERT and ELECTRA."""

    first = False

    def attended(self: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        query, key, value = _split(self, (self.query, self.key, self.value), self.num_attention_heads, hidden_states)
        return attend(query, key, value, self.scaling, _added(attention_mask))

    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, *_: Any, **__: Any) -> Any:
        return self.attended(hidden_states, attention_mask), None


class Albert(Bert):
    """Self-attention of ALBERT, with what comes after it."""

    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, *_: Any, **__: Any) -> Any:
        mapped = self.output_dropout(self.dense(self.attended(hidden_states, attention_mask)))
        return self.LayerNorm(hidden_states + mapped), None


class DistilBert(torch.nn.Module):
    """Self-attention of DistilBERT."""

    first = False

    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, **_: Any) -> Any:
        query, key, value = _split(self, (self.q_lin, self.k_lin, self.v_lin), self.n_heads, hidden_states)
        return self.out_lin(attend(query, key, value, self.scaling, _added(attention_mask))), None


class MPNet(torch.nn.Module):
    """Self-attention of MPNet, whose bias for positions is the same for every text."""

    first = False

    def forward(
        self: Any,
        hidden_states: torch.Tensor,
        attention_mask: Any = None,
        position_bias: Any = None,
        *_: Any,
        **__: Any,
    ) -> Any:
        query, key, value = _split(self, (self.q, self.k, self.v), self.num_attention_heads, hidden_states)
        bias = None
        if position_bias is not None:  # (batch, heads, tokens, tokens), the same for every text
            bias = position_bias[:1, :, : query.shape[2]].transpose(0, 1)
        mixed = attend(query, key, value, self.attention_head_size**-0.5, _added(attention_mask), bias)
        return (self.o(mixed),)


class Deberta(torch.nn.Module):
    """DeBERTa's first version."""

    first = False

    def forward(
        self: Any, hidden_states: torch.Tensor, attention_mask: Any, *_: Any, rel_embeddings: Any = None, **__: Any
    ) -> Any:
        heads = self.num_attention_heads
        batch, tokens, _width = hidden_states.shape
        mapped = self.in_proj(hidden_states).view(batch, tokens, heads, 3, -1)
        query, key, value = mapped.permute(3, 2, 0, 1, 4).contiguous().unbind()
        query = (query[:, :, :1] if self.first else query) + self.q_bias.view(heads, 1, 1, -1)
        value = value + self.v_bias.view(heads, 1, 1, -1)
        scale = (self.attention_head_size * (1 + len(self.pos_att_type))) ** -0.5
        maps = {"c2p": getattr(self, "pos_proj", None), "p2c": getattr(self, "pos_q_proj", None)}
        rows = distance_rows(tokens, 0, getattr(self, "max_relative_positions", 1))
        return attend(
            query, key, value, scale, attention_mask, _distances(self, query, key, rel_embeddings, rows, maps, scale)
        ), None


class DebertaV2(torch.nn.Module):
    """DeBERTa's second and third version."""

    first = False

    def forward(
        self: Any, hidden_states: torch.Tensor, attention_mask: Any, *_: Any, rel_embeddings: Any = None, **__: Any
    ) -> Any:
        linears = (self.query_proj, self.key_proj, self.value_proj)
        query, key, value = _split(self, linears, self.num_attention_heads, hidden_states)
        scale = (self.attention_head_size * (1 + len({"c2p", "p2c"} & set(self.pos_att_type)))) ** -0.5
        if self.share_att_key:
            maps = {"c2p": self.key_proj, "p2c": self.query_proj}
        else:
            maps = {"c2p": getattr(self, "pos_key_proj", None), "p2c": getattr(self, "pos_query_proj", None)}
        rows = None
        if self.relative_attention:
            rows = distance_rows(hidden_states.shape[1], self.position_buckets, self.max_relative_positions)
        bias = _distances(self, query, key, rel_embeddings, rows, maps, scale)
        return attend(query, key, value, scale, attention_mask, bias), None


class DebertaEncoder(torch.nn.Module):
    """Of all versions; the fast attention needs no table of distances, and no mask where there is no padding."""

    def get_attention_mask(self: Any, attention_mask: torch.Tensor) -> torch.Tensor | None:
        if not torch.compiler.is_compiling() and bool(attention_mask.all()):  # a compiled program does not branch
            return None
        return _added(attention_mask[:, None, None].bool())

    def get_rel_pos(self: Any, *_: Any, **__: Any) -> None:
        return None


def _split(
    module: Any, linears: Sequence[torch.nn.Linear], heads: int, hidden: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values."""
    if module.first:
        return (*project(hidden[:, :1], linears[:1], heads), *project(hidden, linears[1:], heads))
    return project(hidden, linears, heads)


def _added(mask: torch.Tensor | None) -> torch.Tensor | None:
    """What a mask ``(batch, 1, tokens or 1, tokens)`` adds to the scores, ``(batch, 1, 1, tokens)``.

    Its rows are equal, because every token sees all tokens of its text.
    """
    if mask is None or mask.dtype != torch.bool:
        return None if mask is None else mask[:, :, :1]
    kept = mask[:, :, :1]
    return torch.zeros_like(kept, dtype=torch.float32).masked_fill_(~kept, torch.finfo(torch.float32).min)


def _distances(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    table: torch.Tensor | None,
    rows: torch.Tensor | None,
    maps: dict[str, Any],
    scale: float,
) -> torch.Tensor | None:
    """`distance_bias` with those parts that the configuration names."""
    kinds = [kind for kind in maps if kind in module.pos_att_type]
    if not module.relative_attention or table is None or rows is None or not kinds:
        return None
    chosen = module.pos_dropout(table)[rows.to(table.device)].unsqueeze(0)
    heads = query.shape[0]
    found = {kind: project(chosen, (maps[kind],), heads)[0].squeeze(1) * scale for kind in kinds}
    return distance_bias(query, key, found.get("c2p"), found.get("p2c"))


# Last layers


class BertLast(torch.nn.Module):
    """Last layer of BERT and its relatives."""

    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, *_: Any, **__: Any) -> Any:
        mixed, _weights = self.attention.self(hidden_states, attention_mask)
        return self.feed_forward_chunk(self.attention.output(mixed, hidden_states[:, :1]))


class DistilBertLast(torch.nn.Module):
    """Last layer of DistilBERT."""

    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, **_: Any) -> Any:
        mixed, _weights = self.attention(hidden_states, attention_mask)
        attended = self.sa_layer_norm(mixed + hidden_states[:, :1])
        return self.output_layer_norm(self.ffn(attended) + attended)


class MPNetLast(torch.nn.Module):
    """Last layer of MPNet."""

    def forward(
        self: Any,
        hidden_states: torch.Tensor,
        attention_mask: Any = None,
        position_bias: Any = None,
        *_: Any,
        **__: Any,
    ) -> Any:
        (mixed,) = self.attention.attn(hidden_states, attention_mask, position_bias)
        attended = self.attention.LayerNorm(self.attention.dropout(mixed) + hidden_states[:, :1])
        return (self.output(self.intermediate(attended), attended),)


class DebertaLast(torch.nn.Module):
    """Last layer of DeBERTa, of all versions."""

    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any, **others: Any) -> Any:
        mixed, _weights = self.attention.self(
            hidden_states, attention_mask, rel_embeddings=others.get("rel_embeddings")
        )
        attended = self.attention.output(mixed, hidden_states[:, :1])
        return self.output(self.intermediate(attended), attended), None


# Layers of one node (`zskd.models.fused_layer`), of all tokens and of the first


class FusedBert(torch.nn.Module):
    """Layer of BERT and its relatives."""

    first = False

    def fused(self: Any, hidden: torch.Tensor, mask: Any, maps: Sequence[Any], distances: Any, scale: float) -> Any:
        own = self.attention.self
        norm, last = self.attention.output, self.output
        modules = (*maps, norm.dense, norm.LayerNorm, self.intermediate.dense, last.dense, last.LayerNorm)
        weights = tuple(weight for module in modules for weight in (module.weight, module.bias))
        return layer(
            hidden, mask, distances, weights, Shape(own.num_attention_heads, scale, norm.LayerNorm.eps, self.first)
        )

    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, *_: Any, **__: Any) -> Any:
        own = self.attention.self
        return self.fused(hidden_states, _added(attention_mask), (own.query, own.key, own.value), None, own.scaling)


class FusedDeberta(FusedBert):
    """Layer of DeBERTa's second and third version."""

    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, *_: Any, **others: Any) -> Any:
        own = self.attention.self
        rows = distance_rows(hidden_states.shape[1], own.position_buckets, own.max_relative_positions)
        distances = others["rel_embeddings"][rows]
        maps, scale = (own.query_proj, own.key_proj, own.value_proj), (3 * own.attention_head_size) ** -0.5
        return self.fused(hidden_states, attention_mask, maps, distances, scale), None
