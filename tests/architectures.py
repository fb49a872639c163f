"""Tiny random classifiers of several architectures, and batches for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from zskd.models.fast_layers import make_fast, make_stock

VOCABULARY = 60
SHAPES = {
    "bert": {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32},
    "distilbert": {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 32},
    "electra": {
        "hidden_size": 16, "embedding_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2,
        "intermediate_size": 32,
    },
    "roberta": {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32},
    "albert": {
        "hidden_size": 16, "embedding_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2,
        "intermediate_size": 32,
    },
}  # fmt: skip
# Families of which zskd makes no generator, but whose embeddings and states it enters.
_LAYERS = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
ENTERED = SHAPES | {
    "camembert": _LAYERS,
    "xlm-roberta": _LAYERS,
    "mpnet": _LAYERS,
    "deberta": _LAYERS | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 2},
    "deberta-v2": _LAYERS | {
        "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 2, "embedding_size": 8,
        "position_buckets": 4, "norm_rel_ebd": "layer_norm", "share_att_key": True, "conv_kernel_size": 3,
        "position_biased_input": False,
    },
}  # fmt: skip
every_model = pytest.mark.parametrize("kind", SHAPES)
PAD = 1


def classifier(kind: str, attention: str | None = None, **changes: Any) -> PreTrainedModel:
    """A classifier of a family, with other settings than its shape's where they are given."""
    torch.manual_seed(0)
    shape = {"max_position_embeddings": 40, "pad_token_id": PAD, "num_labels": 3} | ENTERED[kind] | changes
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, **shape)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation=attention).eval()
    for name, weight in model.named_parameters():
        if "bias" in name or "position" in name:
            torch.nn.init.normal_(weight, std=0.1)  # zeros would hide what is left out
    return model


@contextlib.contextmanager
def fast(model: PreTrainedModel, **options: bool) -> Iterator[None]:
    """`make_fast` inside the block."""
    changed = make_fast(model, **options)
    try:
        yield
    finally:
        make_stock(changed)


def batch(kind: str, lengths: list[int]) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.full((len(lengths), max(lengths)), PAD)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(5, VOCABULARY, (length,))
        mask[row, :length] = 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    if kind in ("bert", "electra", "albert", "deberta", "deberta-v2"):
        inputs["token_type_ids"] = (torch.arange(ids.shape[1]) > 3).long().expand_as(ids) * mask
    return inputs
