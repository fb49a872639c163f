"""The rows of a classifier's output layer, whatever the architecture calls it."""

from __future__ import annotations

import pytest
import torch
from conftest import tiny_bert
from transformers import RobertaConfig, RobertaForSequenceClassification

from zskd.errors import InputError
from zskd.models.output_layer import output_weights


def test_a_row_decides_its_class_and_no_other() -> None:
    small = {
        "vocab_size": 20,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
    }
    roberta = RobertaForSequenceClassification(RobertaConfig(**small, num_labels=3)).eval()
    for model in (tiny_bert(20, ("a", "b", "c"), hidden=8), roberta):
        ids = torch.tensor([[2, 5, 6, 3]])
        with torch.no_grad():
            before = model(input_ids=ids).logits[0]
            rows = output_weights(model, shown="--teacher x")
            assert rows.shape == (3, 8) and rows.dtype == torch.float32
            layer = next(m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == 3)
            layer.weight[1] = 0
            after = model(input_ids=ids).logits[0]
        assert after[1] != before[1] and torch.equal(after[[0, 2]], before[[0, 2]])
        assert torch.equal(output_weights(model, shown="x")[1], torch.zeros(8))


def test_a_copy_in_half_precision_gives_float32_on_the_cpu() -> None:
    rows = output_weights(tiny_bert(20, ("a", "b"), hidden=8).half(), shown="x")
    assert rows.dtype == torch.float32 and rows.device.type == "cpu" and not rows.requires_grad


def test_a_model_without_such_a_layer_is_refused() -> None:
    model = tiny_bert(20, ("a", "b"), hidden=8)
    model.config.num_labels = 77
    with pytest.raises(InputError, match="--teacher x: expected a linear output layer with 77 rows"):
        output_weights(model, shown="--teacher x")
