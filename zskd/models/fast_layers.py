"""Encoders that compute what stock ones compute, in less time on a CPU, with the same weights under the same names.

All heads of a batch are handled together (`zskd.models.fast_attention`). Where a classifier reads the first token only,
as BERT and its relatives do, the last layer computes no other token. Modules change their class and nothing else, so
gradients, checkpoints and hooks stay what they are.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.models.albert import modeling_albert as albert
from transformers.models.bert import modeling_bert as bert
from transformers.models.camembert import modeling_camembert as camembert
from transformers.models.deberta import modeling_deberta as deberta
from transformers.models.deberta_v2 import modeling_deberta_v2 as deberta_v2
from transformers.models.distilbert import modeling_distilbert as distilbert
from transformers.models.electra import modeling_electra as electra
from transformers.models.mpnet import modeling_mpnet as mpnet
from transformers.models.roberta import modeling_roberta as roberta
from transformers.models.xlm_roberta import modeling_xlm_roberta as xlm_roberta

from zskd.models.fast_attention import attend, distance_bias, distance_rows, project


# Self-attention. `first` is set in a last layer: queries are then those of the first token.
class _Bert(torch.nn.Module):
    first = False

    def attended(self: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        query, key, value = _split(self, (self.query, self.key, self.value), self.num_attention_heads, hidden_states)
        return attend(query, key, value, self.scaling, _added(attention_mask))

    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, *_: Any, **__: Any) -> Any:
        return self.attended(hidden_states, attention_mask), None


class _Albert(_Bert):
    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, *_: Any, **__: Any) -> Any:
        mapped = self.output_dropout(self.dense(self.attended(hidden_states, attention_mask)))
        return self.LayerNorm(hidden_states + mapped), None


class _DistilBert(torch.nn.Module):
    first = False

    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, **_: Any) -> Any:
        query, key, value = _split(self, (self.q_lin, self.k_lin, self.v_lin), self.n_heads, hidden_states)
        return self.out_lin(attend(query, key, value, self.scaling, _added(attention_mask))), None


class _MPNet(torch.nn.Module):
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


class _Deberta(torch.nn.Module):
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


class _DebertaV2(torch.nn.Module):
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


class _DebertaEncoder(torch.nn.Module):
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
class _BertLast(torch.nn.Module):
    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, *_: Any, **__: Any) -> Any:
        mixed, _weights = self.attention.self(hidden_states, attention_mask)
        return self.feed_forward_chunk(self.attention.output(mixed, hidden_states[:, :1]))


class _DistilBertLast(torch.nn.Module):
    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, **_: Any) -> Any:
        mixed, _weights = self.attention(hidden_states, attention_mask)
        attended = self.sa_layer_norm(mixed + hidden_states[:, :1])
        return self.output_layer_norm(self.ffn(attended) + attended)


class _MPNetLast(torch.nn.Module):
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


class _DebertaLast(torch.nn.Module):
    def forward(self: Any, hidden_states: torch.Tensor, attention_mask: Any, **others: Any) -> Any:
        mixed, _weights = self.attention.self(
            hidden_states, attention_mask, rel_embeddings=others.get("rel_embeddings")
        )
        attended = self.attention.output(mixed, hidden_states[:, :1])
        return self.output(self.intermediate(attended), attended), None


_ATTENTION: dict[type, type] = {
    albert.AlbertAttention: _Albert,
    bert.BertSelfAttention: _Bert,
    camembert.CamembertSelfAttention: _Bert,
    deberta.DisentangledSelfAttention: _Deberta,
    deberta_v2.DisentangledSelfAttention: _DebertaV2,
    distilbert.DistilBertSelfAttention: _DistilBert,
    electra.ElectraSelfAttention: _Bert,
    mpnet.MPNetSelfAttention: _MPNet,
    roberta.RobertaSelfAttention: _Bert,
    xlm_roberta.XLMRobertaSelfAttention: _Bert,
}
_ENCODERS: dict[type, type] = {
    deberta.DebertaEncoder: _DebertaEncoder,
    deberta_v2.DebertaV2Encoder: _DebertaEncoder,
}
_LAST: dict[type, type] = {
    bert.BertLayer: _BertLast,
    camembert.CamembertLayer: _BertLast,
    deberta.DebertaLayer: _DebertaLast,
    deberta_v2.DebertaV2Layer: _DebertaLast,
    distilbert.TransformerBlock: _DistilBertLast,
    electra.ElectraLayer: _BertLast,
    mpnet.MPNetLayer: _MPNetLast,
    roberta.RobertaLayer: _BertLast,
    xlm_roberta.XLMRobertaLayer: _BertLast,
}
_FASTER = {
    stock: type(f"Fast{stock.__name__}", (quick, stock), {})
    for stock, quick in (_ATTENTION | _ENCODERS | _LAST).items()
}
# Their heads read the first token of the last hidden state and nothing else.
READ_FIRST = {
    bert.BertForSequenceClassification,
    camembert.CamembertForSequenceClassification,
    deberta.DebertaForSequenceClassification,
    deberta_v2.DebertaV2ForSequenceClassification,
    distilbert.DistilBertForSequenceClassification,
    electra.ElectraForSequenceClassification,
    mpnet.MPNetForSequenceClassification,
    roberta.RobertaForSequenceClassification,
    xlm_roberta.XLMRobertaForSequenceClassification,
}


def make_fast(model: PreTrainedModel, *, first_token: bool = False) -> list[tuple[torch.nn.Module, type]]:
    """Change the classes of a model's modules, where its architecture is known, so that it computes faster on a CPU.

    A model is left alone if it would apply dropout to its attention, which the fast one lacks, if it is to return
    attention weights, or if its attention is not that of the known class (a decoder's, an adapter's).

    Args:
        first_token: let the last layer compute the first token only, if no other is read by the model's head. Its
            hidden states then have one token.

    Returns:
        The modules that were changed, with the classes that they had.
    """
    modules = list(model.modules())
    attentions = [module for module in modules if type(module) in _ATTENTION]
    if model.config.output_attentions or any(_drops(one) or _differs(one) for one in attentions) or not attentions:
        return []
    changed = [(module, type(module)) for module in modules if type(module) in _ATTENTION | _ENCODERS]
    layers = [module for module in modules if type(module) in _LAST]
    if first_token and type(model) in READ_FIRST and not _reads_more(model, len(layers)):
        changed.append((layers[-1], type(layers[-1])))
        for module in layers[-1].modules():
            if module in attentions:
                module.first = True
    for module, stock in changed:
        module.__class__ = _FASTER[stock]
    return changed


def _drops(attention: Any) -> bool:
    dropout = getattr(attention, "attention_dropout", None) or attention.dropout
    return bool(attention.training and dropout.p)


def _differs(attention: Any) -> bool:
    """Whether attention is more than `attend` computes: of a decoder, with mixed heads, or with an adapter's maps."""
    plain = {type(child) for child in attention.children()} <= {torch.nn.Linear, torch.nn.Dropout, torch.nn.LayerNorm}
    return bool(not plain or getattr(attention, "is_decoder", False) or getattr(attention, "talking_head", False))


def _reads_more(model: PreTrainedModel, layers: int) -> bool:
    """Whether something reads other tokens of the last layer: hidden states, or the convolution after the first."""
    return bool(model.config.output_hidden_states or (layers == 1 and getattr(model.config, "conv_kernel_size", 0)))


def make_stock(changed: Sequence[tuple[torch.nn.Module, type]]) -> None:
    """Undo `make_fast`, which returned `changed`."""
    for module, stock in changed:
        module.__class__ = stock
        vars(module).pop("first", None)


@contextlib.contextmanager
def fast(model: PreTrainedModel, *, first_token: bool = False) -> Iterator[None]:
    """`make_fast` inside the block, if the model is on a CPU."""
    changed = make_fast(model, first_token=first_token) if model.device.type == "cpu" else []
    try:
        yield
    finally:
        make_stock(changed)


def fast_copy(model: PreTrainedModel, *, first_token: bool = False) -> PreTrainedModel:
    """A copy of a frozen model after `make_fast`; its weights are shared."""
    made: PreTrainedModel = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
    make_fast(made, first_token=first_token)
    return made
