"""Numbers that no model has are refused before anything of that size is made."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AlbertConfig, AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig

from zskd.errors import InputError
from zskd.models.sizes import check_sizes, most_parameters


@pytest.mark.parametrize("value", [None, "32", [32], {}, True, 0, -1, 0.5, 32.0, float("nan"), 1e300])
@pytest.mark.parametrize("name", ["vocab_size", "hidden_size", "num_hidden_layers"])
def test_a_size_is_a_whole_number_above_zero(name: str, value: Any) -> None:
    with pytest.raises(
        InputError, match=f"^--model x: expected a whole number above 0 as {name} in config.json, found"
    ):
        check_sizes({name: value}, "--model x")


LARGE = {
    "num_hidden_layers": 10**9, "n_layer": 10**9, "encoder_layers": 1001, "num_hidden_groups": 10**9,
    "inner_group_num": 10**9, "num_experts": 10**9, "block_sizes": [4, 10**9], "num_labels": 3 * 10**9,
    "hidden_size": 10**30, "d_model": 10**13, "n_positions": 10**13, "n_embd": 10**13, "num_attention_heads": 10**13,
    "conv_dim": [512, 10**13], "sizes": {"r": 10**13}, "n_routed_experts": 10**6,
    "part": {"text_config": [{"n_layers": 10**9}]},
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_what_would_never_be_built_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^--model x: expected at most .* in config.json, found"):
        check_sizes({name: LARGE[name]}, "--model x")


def test_numbers_in_use_pass() -> None:
    check_sizes({"vocab_size": 250002, "num_hidden_layers": 1000, "hidden_size": 16384, "num_labels": 100_000}, "x")
    check_sizes({"intermediate_size": None, "block_sizes": [4, 4, 4], "relative_attention_num_buckets": 32}, "x")
    check_sizes({"num_experts": 2048, "num_local_experts": 5000, "n_routed_experts": 10**5}, "x")
    numbers = {
        "trained_at_ms": 1_700_000_000_000,
        "seed": 2**63,
        "tokens_seen": 15 * 10**12,
        "model_max_length": 10**30,
    }
    check_sizes({**numbers, "training": {"history": [numbers]}}, "x")
    check_sizes({"max_relative_positions": -1, "is_decoder": False, "id2label": {"0": 10**20}}, "x")


@pytest.mark.parametrize(
    "config",
    [AutoConfig.for_model(name) for name in ("bert", "distilbert", "deberta-v2", "xlnet", "t5", "convbert", "funnel")]
    + [AlbertConfig(num_hidden_groups=3, inner_group_num=2)],
    ids=lambda config: config.model_type,
)
def test_no_model_has_more_parameters_than_said(config: PreTrainedConfig) -> None:
    import torch

    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    assert sum(weight.numel() for weight in model.parameters()) <= most_parameters(config.to_dict())
