"""Encoders that compute what stock ones compute, in less time on a CPU, with the same weights under the same names.

All heads of a batch are handled together (`zskd.models.fast_attention`). Where a classifier reads the first token only,
as BERT and its relatives do, the last layer computes no other token. Modules change their class and nothing else, so
gradients, checkpoints and hooks stay what they are.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.activations import GELUActivation
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

from zskd.models import fast_modules as fast
from zskd.models.frozen import sharing_copy

_ATTENTION: dict[type, type] = {
    albert.AlbertAttention: fast.Albert,
    bert.BertSelfAttention: fast.Bert,
    camembert.CamembertSelfAttention: fast.Bert,
    deberta.DisentangledSelfAttention: fast.Deberta,
    deberta_v2.DisentangledSelfAttention: fast.DebertaV2,
    distilbert.DistilBertSelfAttention: fast.DistilBert,
    electra.ElectraSelfAttention: fast.Bert,
    mpnet.MPNetSelfAttention: fast.MPNet,
    roberta.RobertaSelfAttention: fast.Bert,
    xlm_roberta.XLMRobertaSelfAttention: fast.Bert,
}
_ENCODERS: dict[type, type] = {
    deberta.DebertaEncoder: fast.DebertaEncoder,
    deberta_v2.DebertaV2Encoder: fast.DebertaEncoder,
}
_LAST: dict[type, type] = {
    bert.BertLayer: fast.BertLast,
    camembert.CamembertLayer: fast.BertLast,
    deberta.DebertaLayer: fast.DebertaLast,
    deberta_v2.DebertaV2Layer: fast.DebertaLast,
    distilbert.TransformerBlock: fast.DistilBertLast,
    electra.ElectraLayer: fast.BertLast,
    mpnet.MPNetLayer: fast.MPNetLast,
    roberta.RobertaLayer: fast.BertLast,
    xlm_roberta.XLMRobertaLayer: fast.BertLast,
}
_FUSED: dict[type, type] = {
    bert.BertLayer: fast.FusedBert,
    camembert.CamembertLayer: fast.FusedBert,
    deberta_v2.DebertaV2Layer: fast.FusedDeberta,
    electra.ElectraLayer: fast.FusedBert,
    roberta.RobertaLayer: fast.FusedBert,
    xlm_roberta.XLMRobertaLayer: fast.FusedBert,
}
_MIXINS = tuple({mixin for table in (_ATTENTION, _ENCODERS, _LAST, _FUSED) for mixin in table.values()})
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


def make_fast(
    model: PreTrainedModel, *, first_token: bool = False, fused: bool = False
) -> list[tuple[torch.nn.Module, type]]:
    """Change the classes of a model's modules, where its architecture is known, so that it computes faster on a CPU.

    A model is left alone if it is elsewhere, if it would apply dropout to its attention, which the fast one lacks, if
    it is to return attention weights, or if its layers hold what would be passed over: other modules than stock ones
    (as those of LoRA), a ``forward`` of one module's own, or hooks of linear maps. A layer with hooks inside is not
    fused.

    Args:
        first_token: let the last layer compute the first token only, if no other is read by the model's head, and no
            hook may read one. Its hidden states then have one token, also where they are asked for later.
        fused: compute each layer as one node of autograd, where that is known (`zskd.models.fused_layer`). It is for
            float32, has no second derivative, and pays off where layers are narrow.

    Returns:
        The modules that were changed, with the classes that they had.
    """
    modules = list(model.modules())
    attentions = [module for module in modules if type(module) in _ATTENTION]
    layers = [module for module in modules if type(module) in _LAST]
    if model.device.type != "cpu" or model.config.output_attentions or not attentions:
        return []
    if any(_drops(one) or _differs(one) for one in attentions):
        return []
    if not all(_is_stock(part) for module in (*attentions, *layers) for part in module.modules()):
        return []
    faster = {
        module: table[type(module)] for table in (_ATTENTION, _ENCODERS) for module in modules if type(module) in table
    }
    if fused:
        faster |= {one: _FUSED[type(one)] for one in layers if type(one) in _FUSED and _fusible(one)}
    if first_token and type(model) in READ_FIRST and not _reads_more(model):
        last = _stack(model)[-1]
        faster.setdefault(last, _LAST[type(last)])
        for module in last.modules():
            if hasattr(faster.get(module), "first"):
                module.first = True
    changed: list[tuple[torch.nn.Module, Any]] = [(module, type(module)) for module in faster]
    for module, stock in changed:
        module.__class__ = _mixed(faster[module], stock)
    return changed


def _is_stock(module: torch.nn.Module) -> bool:
    """Whether a module inside a layer is used as it is, so that its weights are all that has to be known."""
    if isinstance(module, torch.nn.Linear) and type(module) is not torch.nn.Linear:
        return False
    own = type(module).__module__.startswith(("torch.nn.modules.", "transformers."))  # not torch's quantized ones
    passed_over = "forward" in vars(module) or (_hooked(module) and not list(module.children()))
    return own and not passed_over


def _hooked(module: torch.nn.Module) -> bool:
    """Whether a module has hooks, other than those that collect hidden states and attention weights on demand."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(
        not str(getattr(hook, "__module__", "")).startswith("transformers.") for kind in hooks for hook in kind.values()
    )


def _fusible(layer: Any) -> bool:
    """Whether a layer is what `zskd.models.fused_layer` computes."""
    own, activation = layer.attention.self, layer.intermediate.intermediate_act_fn
    exact = isinstance(activation, GELUActivation) and activation.act is torch.nn.functional.gelu
    dropout = any(isinstance(module, torch.nn.Dropout) and module.p and module.training for module in layer.modules())
    biases = all(module.bias is not None for module in layer.modules() if isinstance(module, torch.nn.Linear))
    norms = {module.eps for module in layer.modules() if isinstance(module, torch.nn.LayerNorm)}
    deberta = isinstance(own, deberta_v2.DisentangledSelfAttention)
    usual = not deberta or (own.relative_attention and own.share_att_key and {"c2p", "p2c"} <= set(own.pos_att_type))
    hooked = any(_hooked(part) for part in layer.modules() if part is not layer)
    return exact and biases and usual and not dropout and not hooked and len(norms) == 1


def _drops(attention: Any) -> bool:
    dropout = getattr(attention, "attention_dropout", None) or attention.dropout
    return bool(attention.training and dropout.p)


def _differs(attention: Any) -> bool:
    """Whether attention is more than `attend` computes: of a decoder, or with heads that are mixed."""
    return bool(getattr(attention, "is_decoder", False) or getattr(attention, "talking_head", False))


def _stack(model: Any) -> list[Any]:
    """A classifier's layers in their order; one that is run twice stands there twice."""
    base = model.base_model
    return list((base.transformer if hasattr(base, "transformer") else base.encoder).layer)


def _reads_more(model: Any) -> bool:
    """Whether something may read other tokens of the last layer.

    That are hidden states, the convolution after the first layer, an earlier layer that shares its attention, hooks, or
    a layer or head that is not its architecture's.
    """
    if not (stack := _stack(model)) or any(type(one) not in _LAST for one in stack):
        return True
    *earlier, last = stack
    if model.config.output_hidden_states or (not earlier and getattr(model.config, "conv_kernel_size", 0)):
        return True
    before = {part for one in earlier for part in one.modules()}
    if any(part in before for part in last.modules() if part is last or type(part) in _ATTENTION):
        return True
    below = {model, *model.base_model.embeddings.modules()} | before
    if any(_hooked(module) for module in model.modules() if module not in below):
        return True
    if type(model) is distilbert.DistilBertForSequenceClassification:
        return False  # takes the first token itself
    reader = getattr(model, "pooler", None) or getattr(model.base_model, "pooler", None) or model.classifier
    return type(reader).__module__ != type(model).__module__ or "forward" in vars(reader)


@functools.cache
def _mixed(mixin: Any, stock: Any) -> Any:
    return type("Fast" + stock.__name__, (mixin, stock), {})


def make_stock(changed: Sequence[tuple[torch.nn.Module, type]]) -> None:
    """Undo `make_fast`, which returned `changed`."""
    for module, stock in changed:
        module.__class__ = stock
        vars(module).pop("first", None)


def is_fast(model: torch.nn.Module) -> bool:
    """Whether some modules of a model are fast."""
    return any(isinstance(module, _MIXINS) for module in model.modules())


def fast_copy(model: PreTrainedModel, *, first_token: bool = False) -> PreTrainedModel:
    """A copy of a frozen model after `make_fast`; its weights are shared."""
    made = sharing_copy(model)
    make_fast(made, first_token=first_token)
    return made
