"""What an output layer reads, from the last states: in every family, and with nothing left in the model."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from zskd.models.features import features
from zskd.models.output_layer import output_layer

SHAPE = {
    "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32, "vocab_size": 60,
    "num_labels": 3, "max_position_embeddings": 40,
}  # fmt: skip


def model_of(family: str) -> torch.nn.Module:
    names = {"distilbert": {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 32}}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**SHAPE, **names.get(family, {})})
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.mark.parametrize("family", ["bert", "electra", "roberta", "distilbert", "deberta-v2", "mpnet"])
def test_the_output_layer_makes_the_logits_of_them(family: str) -> None:
    model = model_of(family)
    ids, mask = torch.randint(5, 60, (2, 7)), torch.ones(2, 7, dtype=torch.long)
    mask[1, 5:] = 0
    ids[mask == 0] = model.config.pad_token_id or 0
    output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    found = features(model, output.hidden_states[-1], mask)
    torch.testing.assert_close(output_layer(model)(found), output.logits, atol=1e-5, rtol=1e-5)
    found.sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in model.base_model.parameters())
    assert not output_layer(model)._forward_pre_hooks, "nothing is left in the model"


def test_a_model_without_an_output_layer_is_refused() -> None:
    model = model_of("bert")
    model.classifier = torch.nn.Identity()
    with pytest.raises(ValueError, match="expected a model with a linear output layer"):
        features(model, torch.zeros(1, 3, 16), torch.ones(1, 3))
