"""Tiny random classifiers of several architectures, and batches for them."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

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
every_model = pytest.mark.parametrize("kind", SHAPES)
PAD = 1


def classifier(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=VOCABULARY, max_position_embeddings=40, pad_token_id=PAD, num_labels=3, **SHAPES[kind]
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    for name, weight in model.named_parameters():
        if "bias" in name or "position" in name:
            torch.nn.init.normal_(weight, std=0.1)  # zeros would hide what is left out
    return model


def batch(kind: str, lengths: list[int]) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.full((len(lengths), max(lengths)), PAD)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(5, VOCABULARY, (length,))
        mask[row, :length] = 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    if kind in ("bert", "electra", "albert"):
        inputs["token_type_ids"] = (torch.arange(ids.shape[1]) > 3).long().expand_as(ids) * mask
    return inputs
