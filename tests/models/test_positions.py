"""Usable positions of model families."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from zskd.models.positions import usable_positions


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 20, "pad_token_id": 0}, 19),
        ({"model_type": "t5"}, None),
        ({"model_type": "deberta-v2", "max_position_embeddings": -1}, None),
        ({"max_position_embeddings": "many"}, None),
    ],
)
def test_positions(config: dict[str, Any], expected: int | None) -> None:
    assert usable_positions(config) == expected


# layoutlmv3, lilt, markuplm and xmod count in the same way, and want more than the ids of a text.
COUNTING = (
    "bert", "electra", "mpnet", "roberta", "camembert", "data2vec-text", "ibert", "luke", "roberta-prelayernorm",
    "xlm-roberta", "xlm-roberta-xl", "esm",
)  # fmt: skip


@pytest.mark.parametrize("kind", COUNTING)
def test_a_model_reads_as_many_tokens_and_no_more(kind: str) -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    table = {"vocab_size": 20, "max_position_embeddings": 66, "pad_token_id": 1}
    more = {"position_embedding_type": "absolute"} if kind == "esm" else {}
    config = AutoConfig.for_model(kind, **shape, **table, **more)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    tokens = usable_positions(config.to_dict())
    assert tokens in (64, 66)
    ids = torch.full((1, tokens + 1), 7)
    with torch.inference_mode():
        assert model(input_ids=ids[:, :-1], attention_mask=torch.ones_like(ids[:, :-1])).logits.isfinite().all()
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
