"""Faster copies of a frozen model, which share most of its weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask


def _copy(model: PreTrainedModel, replaced: dict[int, torch.nn.Parameter]) -> PreTrainedModel:
    """A copy that shares the model's parameters, except those that `replaced` names by their id."""
    known: dict[int, Any] = {id(weight): weight for weight in model.parameters()}
    made: PreTrainedModel = copy.deepcopy(model, known | replaced)
    return made


def short_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention without dropout as two batched matrix products, for a CPU.

    PyTorch's fused kernel handles each head of each row separately. For rows as short as a sentence, that costs more
    than the products. In bfloat16, its gradient takes longer than all other gradients of a model together.

    Args:
        query: ``(batch, heads, tokens, size)``, as are `key` and `value`.
        attention_mask: added to the scores, ``(batch, 1, 1 or tokens, tokens)``.

    Returns:
        ``(batch, tokens, heads, size)``, and no weights.
    """
    batch, heads, tokens, size = query.shape
    scaling = size**-0.5 if scaling is None else scaling
    queries, keys, values = (x.reshape(batch * heads, tokens, size) for x in (query, key, value))
    if attention_mask is None:
        scores = torch.bmm(queries * scaling, keys.transpose(1, 2))
    else:
        mask = attention_mask.expand(batch, heads, tokens, tokens).reshape(-1, tokens, tokens)
        scores = torch.baddbmm(mask.to(queries.dtype), queries, keys.transpose(1, 2), alpha=scaling)
    mixed = torch.bmm(scores.softmax(-1).to(values.dtype), values)
    return mixed.view(batch, heads, tokens, size).transpose(1, 2), None


SHORT = "zskd_short"
AttentionInterface.register(SHORT, short_attention)
AttentionMaskInterface.register(SHORT, eager_mask)
# Encoders with plain attention: every token sees all others of its text, without bias or grouping.
PLAIN = {"albert", "bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"}


def use_short_attention(model: PreTrainedModel) -> None:
    """Let a model that is never in training mode use `short_attention`, if its architecture is one of `PLAIN`."""
    if model.config.model_type in PLAIN and model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(SHORT)


def with_short_attention(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a frozen model after `use_short_attention`; its weights are shared."""
    made = _copy(model, {})
    use_short_attention(made)
    return made


def with_half_weights(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A copy of a frozen model whose linear layers have 16-bit weights; the other weights are shared.

    Under autocast to `dtype`, it computes the same bits as the model itself. Autocast caches the casts of trainable
    weights only, so the model itself would cast all frozen weights in every forward pass.
    """
    linear = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
    halves = {
        id(weight): torch.nn.Parameter(weight.detach().to(dtype), requires_grad=False)
        for module in linear
        for weight in module.parameters()
    }
    return _copy(model, halves)


def compiled(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a frozen model that `torch.compile` compiles at its first batch; weights are shared.

    One program serves batches of all shapes. On a CPU the weights become part of it, in the layout that its matrix
    products need. Its logits differ from the model's by rounding.
    """
    made = _copy(model, {})
    on_cpu = model.device.type == "cpu"
    # One thread per batch (`zskd.models.batching.each_in_a_thread`).
    made.compile(dynamic=True, options={"freezing": True, "cpp.threads": 1} if on_cpu else None)
    return made
