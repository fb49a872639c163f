"""Classifiers for SST-2 that read less than a task's default length, or whose limit is easily taken for another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from labelled_rows import prose
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from recipes.tiny import word_tokenizer
from zskd.models.adapters import new_adapter, save_adapter

SHORT = 16  # tokens that a faulty model reads
LABELS = {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}
_LAYERS = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
NO_LIMIT = 10**30  # what transformers gives a tokenizer without a limit


def _tokenizer(limit: int) -> PreTrainedTokenizerFast:
    tokenizer = word_tokenizer(prose(300))
    tokenizer.model_max_length = limit
    return tokenizer


def _save(folder: Path, kind: Any, config: Any, limit: int, **values: Any) -> None:
    tokenizer = _tokenizer(limit)
    torch.manual_seed(0)
    model: PreTrainedModel = kind(config(vocab_size=len(tokenizer), pad_token_id=0, **LABELS, **values))
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def few_positions(folder: Path) -> None:
    """A BERT of 16 positions, and a tokenizer without a limit."""
    values = _LAYERS | {"max_position_embeddings": SHORT}
    _save(folder, BertForSequenceClassification, BertConfig, NO_LIMIT, **values)


def few_positions_counted_from_padding(folder: Path) -> None:
    """A RoBERTa whose 17 rows are 16 positions."""
    values = _LAYERS | {"max_position_embeddings": SHORT + 1, "type_vocab_size": 2}
    _save(folder, RobertaForSequenceClassification, RobertaConfig, NO_LIMIT, **values)


def few_positions_of_another_name(folder: Path) -> None:
    """A GPT-2, whose configuration calls its 16 positions ``n_positions``."""
    values = {"n_positions": SHORT, "n_embd": 16, "n_layer": 1, "n_head": 2}
    _save(folder, GPT2ForSequenceClassification, GPT2Config, NO_LIMIT, **values)


def tokenizer_with_a_low_limit(folder: Path) -> None:
    """A BERT of 128 positions whose tokenizer stops at 16."""
    values = _LAYERS | {"max_position_embeddings": 128}
    _save(folder, BertForSequenceClassification, BertConfig, SHORT, **values)


def adapter_of_few_positions(folder: Path) -> None:
    """An adapter whose backbone has 16 positions; what its own configuration says of them is not so."""
    base = folder / "base"
    few_positions(base)
    model = new_adapter(BertForSequenceClassification.from_pretrained(base), 2)
    save_adapter(model, folder, str(base))
    own = BertConfig.from_pretrained(base)
    own.max_position_embeddings = 512
    own.save_pretrained(folder)


def tokenizer_without_a_limit(folder: Path) -> None:
    """A BERT of 128 positions; reads 128 tokens."""
    values = _LAYERS | {"max_position_embeddings": 128}
    _save(folder, BertForSequenceClassification, BertConfig, NO_LIMIT, **values)


def distances_alone(folder: Path) -> None:
    """A DeBERTa that knows distances and no positions, so that its ``max_position_embeddings`` is no limit."""
    values = _LAYERS | {
        "max_position_embeddings": SHORT, "position_biased_input": False, "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"], "position_buckets": 4, "norm_rel_ebd": "layer_norm", "share_att_key": True,
    }  # fmt: skip
    _save(folder, DebertaV2ForSequenceClassification, DebertaV2Config, NO_LIMIT, **values)


# Models that cannot read a task's default length, and whether their positions or their tokenizer is the limit.
TOO_SHORT = {
    few_positions: "positions",
    few_positions_counted_from_padding: "positions",
    few_positions_of_another_name: "positions",
    tokenizer_with_a_low_limit: "model_max_length",
    adapter_of_few_positions: "positions",
}
# Models that must not be refused, and the tokens that they read.
LONG_ENOUGH = {tokenizer_without_a_limit: 128, distances_alone: 512}


def word_decides(folder: Path, limit: int = 512) -> None:
    """A BERT of 512 positions that calls a text positive because of "fine" and negative because of "dull", anywhere.

    Every token has the same weight. A text without either word is called negative, by a little.
    """
    tokenizer = word_tokenizer([*prose(300), "fine dull"])
    tokenizer.model_max_length = limit
    size = 16
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=size, num_hidden_layers=1, num_attention_heads=2, intermediate_size=size,
        max_position_embeddings=512, **LABELS,
    )  # fmt: skip
    torch.manual_seed(0)
    model = BertForSequenceClassification(config).eval()
    layer, embeddings = model.bert.encoder.layer[0], model.bert.embeddings
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "LayerNorm" not in name:
                weight.zero_()
        # The first two values of a token are equal but for the two words; the norms scale them alike.
        words = embeddings.word_embeddings.weight
        words[:, 2:].normal_()
        words[tokenizer.convert_tokens_to_ids("fine"), 0] = 4.0
        words[tokenizer.convert_tokens_to_ids("dull"), 1] = 4.0
        layer.attention.self.value.weight.copy_(torch.eye(size))
        layer.attention.output.dense.weight.copy_(torch.eye(size))
        model.bert.pooler.dense.weight[0, :2] = torch.tensor([100.0, -100.0])
        model.classifier.weight[:, 0] = torch.tensor([-1.0, 1.0])
        model.classifier.bias.copy_(torch.tensor([0.01, -0.01]))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
