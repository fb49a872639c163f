"""Faster copies of a frozen model: the same answers, and its weights left alone."""

from __future__ import annotations

import shutil

import pytest
import torch
from conftest import tiny_bert
from transformers import PreTrainedModel

from zskd.models.frozen import compiled, with_half_weights
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
