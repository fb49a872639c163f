"""Usable positions of model families."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from zskd.models.positions import length_problem, reading_length, tokenizer_limit, usable_positions


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 20, "pad_token_id": 0}, 19),
        ({"model_type": "mpnet", "max_position_embeddings": 20, "pad_token_id": 0}, 18),
        ({"model_type": "t5"}, None),
        ({"model_type": "deberta-v2", "max_position_embeddings": -1}, None),
        ({"max_position_embeddings": "many"}, None),
        ({"model_type": "gpt2", "n_positions": 24}, 24),
        ({"model_type": "openai-gpt", "n_positions": 24}, 24),
        ({"model_type": "xlnet", "n_positions": 24}, None),
        ({"model_type": "t5", "n_positions": 512}, None),
        ({"model_type": "deberta-v2", "max_position_embeddings": 24, "position_biased_input": False}, None),
        ({"model_type": "deberta", "max_position_embeddings": 24, "position_biased_input": False}, None),
        ({"model_type": "deberta-v2", "max_position_embeddings": 24, "position_biased_input": True}, 24),
        ({"model_type": "deberta-v2", "max_position_embeddings": 24}, 24),
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


BERT = {"model_type": "bert", "max_position_embeddings": 40}


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(128, 128), (512.0, 512), (10**30, None), (1e30, None), (None, None), ("64", None), (0, None)],
)
def test_what_a_tokenizer_says_of_its_limit(limit: Any, expected: int | None) -> None:
    assert tokenizer_limit(limit) == expected


@pytest.mark.parametrize(
    ("config", "limit", "expected"),
    [
        (BERT, 10**30, 40),
        (BERT, 512, 40),
        (BERT, 32, 32),
        (BERT, None, 40),
        ({"model_type": "t5"}, 10**30, 512),
        ({"model_type": "t5"}, 128, 128),
        ({"model_type": "t5"}, 2048, 512),
        ({"model_type": "modernbert", "max_position_embeddings": 8192}, 8192, 8192),
    ],
)
def test_one_length_is_read_where_none_is_asked_for(config: dict[str, Any], limit: Any, expected: int) -> None:
    assert reading_length(config, limit) == expected
    assert length_problem(config, limit, "--model x", expected) is None


def test_the_message_names_the_lower_limit() -> None:
    assert (
        length_problem(BERT, 512, "--model x", 41) == "--max-length 41: expected at most the 40 positions of --model x"
    )
    found = length_problem(BERT, 32, "--model x", 41)
    assert found is not None and "at most the 32 tokens" in found and "tokenizer of --model x" in found
    assert length_problem({"model_type": "t5"}, 10**30, "--model x", 10**5) is None
