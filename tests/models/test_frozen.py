"""Faster copies of a frozen model: the same answers, and its weights left alone."""

from __future__ import annotations

import shutil

import pytest
import torch
from conftest import tiny_bert
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from zskd.models.frozen import PLAIN, SHORT, compiled, with_half_weights, with_short_attention
from zskd.models.loading import model_fingerprint
from zskd.system.precision import HALVES, autocast

LABELS = ("no", "yes", "maybe")


@pytest.fixture
def model() -> PreTrainedModel:
    return tiny_bert(90, LABELS, seed=1).eval()


def batch(rows: int, length: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 90, (rows, length), generator=torch.Generator().manual_seed(rows))
    mask = torch.ones_like(ids)
    mask[0, length // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("precision", HALVES)
def test_half_weights_give_the_bits_of_autocast_and_leave_the_model_alone(
    model: PreTrainedModel, precision: str
) -> None:
    before = model_fingerprint(model)
    half = with_half_weights(model, HALVES[precision])
    with torch.no_grad(), autocast("cpu", precision):
        assert torch.equal(half(**batch(4, 9)).logits, model(**batch(4, 9)).logits)
    assert model_fingerprint(model) == before
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert linear
    for (name, weight), copied in zip(model.named_parameters(), half.parameters(), strict=True):
        changed = name.rpartition(".")[0] in linear
        assert (copied is weight) != changed
        assert copied.dtype == (HALVES[precision] if changed else torch.float32)


def test_tied_weights_stay_tied() -> None:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(vocab_size=90, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    half = with_half_weights(BertForMaskedLM(config), torch.bfloat16)
    assert half.get_input_embeddings().weight is half.get_output_embeddings().weight


SIZES = {
    "vocab_size": 90,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "pad_token_id": 0,
}
# Of the largest logit.
TOLERANCE = {"fp32": 1e-4, "bf16": 0.1, "fp16": 0.025}
DISTILBERT = {"vocab_size": 90, "dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 32}


def sensitive(architecture: str, sizes: dict[str, int]) -> PreTrainedModel:
    """A model that looks at some tokens more than at others; a fresh one attends to all alike, whatever the scores."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model(architecture, num_labels=3, **sizes), attn_implementation="sdpa"
    ).eval()
    for weight in model.parameters():
        weight.data.mul_(8.0)
    return model


@pytest.mark.parametrize("precision", ["fp32", *HALVES])
@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [
        ("bert", SIZES),
        ("roberta", SIZES),
        ("xlm-roberta", SIZES),
        ("camembert", SIZES),
        ("electra", {**SIZES, "embedding_size": 8}),
        ("albert", {**SIZES, "embedding_size": 8}),
        ("distilbert", DISTILBERT),
    ],
)
def test_short_attention_is_attention(architecture: str, sizes: dict[str, int], precision: str) -> None:
    assert architecture in PLAIN
    model = sensitive(architecture, sizes)
    short = with_short_attention(model)
    assert (short.config._attn_implementation, model.config._attn_implementation) == (SHORT, "sdpa")
    assert all(copied is weight for copied, weight in zip(short.parameters(), model.parameters(), strict=True))
    for rows, length in ((4, 9), (1, 16)):
        ones = {**batch(rows, length), "attention_mask": torch.ones(rows, length, dtype=torch.long)}
        with torch.inference_mode():
            expected = model(**batch(rows, length)).logits
            assert not torch.allclose(model(**ones).logits, expected, rtol=1e-3)  # the mask matters
            with autocast("cpu", precision):
                found = short(**batch(rows, length)).logits.float()
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=0, atol=scale * TOLERANCE[precision])


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [
        ("deberta-v2", {**SIZES, "max_position_embeddings": 32}),  # its attention is its own
        ("t5", {"vocab_size": 90, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4}),  # a bias
        ("qwen2", {**SIZES, "num_key_value_heads": 2}),  # heads in groups
    ],
)
def test_other_attention_is_left_alone(architecture: str, sizes: dict[str, int]) -> None:
    config = AutoConfig.for_model(architecture, **sizes)
    short = with_short_attention(AutoModelForSequenceClassification.from_config(config).eval())
    assert short.config._attn_implementation != SHORT


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("half", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_compiled_copy_answers_alike_for_every_shape(model: PreTrainedModel, half: bool) -> None:
    before = model_fingerprint(model)
    made = compiled(with_half_weights(model, torch.bfloat16) if half else model)
    with torch.inference_mode(), autocast("cpu", "bf16" if half else "fp32"):
        for rows, length in ((4, 9), (7, 5), (3, 16), (1, 4)):
            inputs = batch(rows, length)
            torch.testing.assert_close(
                made(**inputs).logits.float(),
                model(**inputs).logits.float(),
                rtol=0,
                atol=2e-2 if half else 1e-5,
            )
    assert model_fingerprint(model) == before
