"""Entry points into a sequence classifier: token ids, word embeddings, or the states of one of its layers.

From each entry the model's own code continues: its masks, its position biases, its head. The parts below the entry are
removed from a view of the model, a shallow copy that shares all weights. Nothing is computed twice, and the model
itself is never changed. The three paths agree bit for bit wherever the operations are the same.

Example:
    >>> import torch
    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> shape = dict(hidden_size=16, num_attention_heads=2, num_hidden_layers=2, intermediate_size=32, vocab_size=60)
    >>> model = BertForSequenceClassification(BertConfig(**shape, num_labels=3)).eval()
    >>> ids, mask = torch.tensor([[2, 7, 9, 3], [2, 8, 3, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    >>> by_ids = forward(model, ids=ids, mask=mask, want_states=True)
    >>> by_ids.logits.shape, len(by_ids.states), by_ids.states[0].shape
    (torch.Size([2, 3]), 3, torch.Size([2, 4, 16]))
    >>> by_embeddings = forward(model, embeds=embeddings(model, ids), mask=mask)
    >>> above = forward(model, states=by_ids.states[1], layer=1, mask=mask)
    >>> all(torch.allclose(other.logits, by_ids.logits, atol=1e-6) for other in (by_embeddings, above))
    True
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from zskd.errors import InputError


@dataclass(frozen=True)
class Output:
    """A classifier's answer.

    Attributes:
        logits: ``(batch, num_labels)``, in the model's own order of classes.
        states: hidden states ``(batch, tokens, hidden)`` from the entry upwards if they were asked for, else None.
            From ids and embeddings there are layers + 1: index 0 is after the embedding block, index n after layer n.
            From the states of layer n there are layers + 1 - n; the first are the given ones.
    """

    logits: torch.Tensor
    states: tuple[torch.Tensor, ...] | None = None


@dataclass(frozen=True)
class _Architecture:
    """Names of the parts of a model family, as modules in transformers.

    Attributes:
        encoder: the module of the base model that contains the layers.
        layers: the list of layers in the encoder.
        projection: the module of the base model after its embeddings that still belongs to the embedding block.
        inner_projection: the same inside the encoder.
        segments: whether ``forward`` takes ``token_type_ids``.
        from_padding: whether positions count from the padding id on, and padding has the padding id as position. Such a
            model derives positions from token ids.
    """

    encoder: str = "encoder"
    layers: str = "layer"
    projection: str | None = None
    inner_projection: str | None = None
    segments: bool = True
    from_padding: bool = False


# Names in transformers 5.23. Only families that the tests cover are listed.
_ARCHITECTURES = {
    "albert": _Architecture(layers="albert_layer_groups", inner_projection="embedding_hidden_mapping_in"),
    "bert": _Architecture(),
    "camembert": _Architecture(from_padding=True),
    "deberta": _Architecture(),
    "deberta-v2": _Architecture(),
    "distilbert": _Architecture(encoder="transformer", segments=False),
    "electra": _Architecture(projection="embeddings_project"),
    "mpnet": _Architecture(segments=False, from_padding=True),
    "roberta": _Architecture(from_padding=True),
    "xlm-roberta": _Architecture(from_padding=True),
}
SUPPORTED = tuple(_ARCHITECTURES)


def check_entry(model: PreTrainedModel, shown: str = "model") -> None:
    """Check that a model has entry points.

    Args:
        shown: flag and value to quote in the message.

    Raises:
        InputError: its architecture is not supported, or it has no head.
    """
    kind = model.config.model_type
    if kind not in _ARCHITECTURES:
        raise InputError(
            f"{shown}: expected a model whose embeddings and states can be entered (model_type one of "
            f"{', '.join(SUPPORTED)}), found model_type {kind}; use a teacher of one of these, or a method that needs "
            "its answers alone"
        )
    if model.base_model is model:
        raise InputError(
            f"{shown}: expected a sequence classifier, found {type(model).__name__}, which has no head; load it with "
            "AutoModelForSequenceClassification"
        )


def counts_positions(model: PreTrainedModel) -> bool:
    """Whether the model derives positions from token ids, as RoBERTa's and MPNet's families do.

    Raises:
        InputError: the model has no entry points.
    """
    check_entry(model)
    return _ARCHITECTURES[model.config.model_type].from_padding


def count_layers(model: PreTrainedModel) -> int:
    """Number of encoder layers, the highest `layer` that `forward` takes.

    Raises:
        InputError: the model has no entry points.
    """
    check_entry(model)
    layers: int = model.config.num_hidden_layers
    return layers


def embeddings(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """Rows ``(batch, tokens, width)`` of the word embeddings, before positions, segments and normalisation.

    If the table is narrower than the layers (ELECTRA, ALBERT), `width` is the table's. A gradient reaches the table
    unless it is frozen.

    Args:
        ids: ``(batch, tokens)`` int64.
    """
    rows: torch.Tensor = model.get_input_embeddings()(ids)
    return rows


def forward(
    model: PreTrainedModel,
    *,
    ids: torch.Tensor | None = None,
    embeds: torch.Tensor | None = None,
    states: torch.Tensor | None = None,
    layer: int | None = None,
    mask: torch.Tensor,
    segments: torch.Tensor | None = None,
    want_states: bool = False,
) -> Output:
    """A classifier's answer from exactly one of `ids`, `embeds` and `states`; a gradient reaches the last two.

    The paths give the same logits and states, to 1e-6 in float32 without dropout, for rows padded on the right.

    Args:
        ids: ``(batch, tokens)`` int64.
        embeds: ``(batch, tokens, width)``, as `embeddings` gives them.
        states: ``(batch, tokens, hidden)``, the output after `layer` layers, that is `states[layer]` of another call.
            The remaining layers and the head follow.
        layer: 0 (the output of the embedding block) to the number of layers; required with `states`, else not allowed.
        mask: ``(batch, tokens)``, 1 on tokens and 0 on padding. Without ids, RoBERTa, CamemBERT, XLM-RoBERTa and MPNet
            count positions by the mask. With ids, they count all ids except the padding id, which is the same unless a
            text contains that id.
        segments: ``(batch, tokens)`` int64, the token type ids; None for zeros. DistilBERT and MPNet have none and
            ignore them; above the embedding block they have no effect.
        want_states: also return hidden states.

    Raises:
        InputError: the model has no entry points (see `SUPPORTED`).
        ValueError: not exactly one entry is given, or `layer` does not fit.
    """
    depth = count_layers(model)
    if sum(entry is not None for entry in (ids, embeds, states)) != 1:
        raise ValueError("expected exactly one of ids, embeds and states")
    if (states is None) != (layer is None):
        raise ValueError("layer: expected together with states, and only then")
    if layer is not None and not 0 <= layer <= depth:
        raise ValueError(f"layer: expected 0 to {depth}, the number of layers, found {layer}")
    kept: list[torch.Tensor] = []
    view = _view_above(model, states, layer or 0, kept if want_states else None)
    # DeBERTa multiplies masks and subtracts them from 1, which fails for bool.
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask.long()}
    if ids is None:
        inputs["inputs_embeds"] = embeds if states is None else states
    known = _ARCHITECTURES[model.config.model_type]
    if segments is not None and known.segments:
        inputs["token_type_ids"] = segments
    if embeds is not None and known.from_padding:
        inputs["position_ids"] = _positions(mask, model.base_model.embeddings.padding_idx)
    logits: torch.Tensor = view(**inputs, return_dict=True).logits
    return Output(logits, tuple(kept) if want_states else None)


def _positions(mask: torch.Tensor, padding: int) -> torch.Tensor:
    """Positions ``(batch, tokens)`` int64 for families that count from the padding id on."""
    there = mask.long()
    return there.cumsum(dim=1) * there + padding


class _Given(torch.nn.Module):
    """Replaces a module whose output is already known."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        return self.output


class _NoLayer(torch.nn.Module):
    """A DeBERTa layer that returns its input; version 2 needs at least one layer."""

    def forward(self, states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, None]:
        return states, None


def _view(module: Any) -> Any:
    """A shallow copy of a module that shares its weights, and whose submodules and hooks can be changed.

    Wrappers around ``forward``, of `torch.compile` and other libraries, are left out, because they would call the
    original module.
    """
    made = copy.copy(module)
    content = vars(made)
    content.pop("forward", None)
    for name in ("_modules", "_forward_hooks", "_forward_pre_hooks"):
        content[name] = content[name].copy()
    return made


def _view_above(
    model: PreTrainedModel, states: torch.Tensor | None, layer: int, kept: list[torch.Tensor] | None
) -> PreTrainedModel:
    """A view of a model that begins with `states` above a layer, and appends later hidden states to `kept`."""
    known, kind = _ARCHITECTURES[model.config.model_type], model.config.model_type
    whole, base = _view(model), _view(model.base_model)
    encoder = _view(getattr(base, known.encoder))
    whole._modules[model.base_model_prefix] = base
    base._modules[known.encoder] = encoder
    layers = list(getattr(encoder, known.layers))
    if kind == "albert":  # a few groups, each run through several times
        depth, groups = model.config.num_hidden_layers, model.config.num_hidden_groups
        layers = [layers[int(i / (depth / groups))] for i in range(depth)]
    layers = layers[layer:]
    if kind == "albert":
        encoder.config = copy.copy(encoder.config)
        encoder.config.num_hidden_layers = encoder.config.num_hidden_groups = len(layers)
    if states is not None:
        base._modules["embeddings"] = _Given(states)
        if known.projection is not None:  # a module that is there only where the widths differ
            base._modules.pop(known.projection, None)
        if known.inner_projection is not None:
            encoder._modules[known.inner_projection] = torch.nn.Identity()
    if kind == "deberta-v2" and layer > 0:
        encoder._modules["conv"] = None  # belongs to the first layer
    if kept is not None:
        # The input of a layer is kept, not the output of the layer below: there may be a convolution between them.
        layers = [_view(module) for module in layers]
        for module in layers:
            module.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
        encoder.register_forward_hook(lambda _, __, output: kept.append(output[0]))
    if kind == "deberta-v2" and not layers:
        layers = [_NoLayer()]
    encoder._modules[known.layers] = torch.nn.ModuleList(layers)
    made: PreTrainedModel = whole
    return made
