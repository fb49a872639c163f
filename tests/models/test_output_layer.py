"""The rows of a classifier's output layer, whatever the architecture calls it."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from architectures import ENTERED, batch, classifier
from conftest import tiny_bert
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from zskd.errors import InputError
from zskd.models.output_layer import fit_head, output_layer, output_weights


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


NAMES = ["first", "second", "third"]


@pytest.mark.parametrize("kind", [*ENTERED, "gpt2", "xlnet", "modernbert"])
def test_the_classes_of_a_head_are_put_in_order_by_name(kind: str) -> None:
    model = classifier(kind) if kind in ENTERED else made(kind)
    inputs = batch(kind, [9, 5]) if kind in ENTERED else {"input_ids": torch.arange(5, 19).view(2, 7)}
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        before = model(**inputs).logits
        assert fit_head(model, NAMES, ("Third", "first", "SECOND"), [], shown="x") == []
        after = model(**inputs).logits
    assert torch.equal(after, before[:, [2, 0, 1]]) and not torch.equal(after, before)


MORE = {
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "pad_token_id": 1},
    "xlnet": {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32},
    "modernbert": {
        "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32, "pad_token_id": 1,
        "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3,
    },
}  # fmt: skip


def made(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=60, num_labels=3, **MORE[kind])
    return AutoModelForSequenceClassification.from_config(config).eval()


def test_a_head_of_other_names_is_new_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zskd")
    model = classifier("roberta")
    old = copy.deepcopy(model.state_dict())
    new = fit_head(model, NAMES, ("a", "b", "c"), [], shown="--student x")
    assert new == ["classifier.out_proj.bias", "classifier.out_proj.weight"]
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, old[name]) == (name not in new), name
    assert "--student x: its head is for first, second, third, not a, b, c, and starts anew" in caplog.text
    assert "--student x: new weights, drawn at random: classifier.out_proj.bias" in caplog.text


def test_a_head_in_order_stays_and_draws_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zskd")
    model = classifier("bert")
    old, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert fit_head(model, NAMES, tuple(NAMES), [], shown="x") == []
    assert all(torch.equal(weight, old[name]) for name, weight in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and not caplog.text


def test_a_layer_of_the_base_is_no_output_layer() -> None:
    model = classifier("bert", hidden_size=4, intermediate_size=3)
    assert output_layer(model) is model.classifier
