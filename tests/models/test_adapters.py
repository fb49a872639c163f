"""Adapters that start from another: its matrices and nothing else, or a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import tiny_bert
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file

from zskd.errors import InputError
from zskd.models.adapters import LORA_TARGETS, new_adapter, save_adapter, start_from

THREE, TWO = ("entailment", "neutral", "contradiction"), ("entailment", "not_entailment")


def adapted(labels: tuple[str, ...], rank: int = 4, hidden: int = 32, seed: int = 0) -> PeftModel:
    """A tiny classifier with an adapter; the first seed's has trained, random matrices."""
    torch.manual_seed(seed)
    return new_adapter(tiny_bert(50, labels, hidden, seed), rank)


def state(model: PeftModel) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in get_peft_model_state_dict(model, save_embedding_layers=False).items()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A saved adapter for three labels, no matrix of which is zero."""
    model = adapted(THREE, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0.0, 0.1)
    save_adapter(model, tmp_path / "source", "somewhere/base")
    return tmp_path / "source"


def test_a_new_adapter_changes_nothing_yet() -> None:
    plain, model = tiny_bert(50, TWO), adapted(TWO)
    ids = torch.arange(5, 15)[None]
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(input_ids=ids).logits, plain(input_ids=ids).logits)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or "classifier" in name for name in trained)
    for target in LORA_TARGETS:
        assert any(f".{target}.lora_A" in name for name in trained)


@pytest.mark.parametrize("labels", [THREE, TWO], ids=["same labels", "other labels"])
def test_matrices_are_the_others_and_the_head_is_new(source: Path, labels: tuple[str, ...]) -> None:
    model = adapted(labels)
    before, saved = state(model), load_file(source / "adapter_model.safetensors")
    start_from(model, source)
    after = state(model)
    matrices = {name for name in after if "lora_" in name}
    assert matrices == {name for name in saved if "lora_" in name} and len(matrices) > 20
    for name, value in after.items():
        if name in matrices:
            assert torch.equal(value, saved[name].float()) and not torch.equal(value, before[name])
        else:
            assert torch.equal(value, before[name])
    heads = [name for name in after if "classifier" in name and name.endswith("weight")]
    assert [after[name].shape for name in heads] == [(len(labels), 32)]


def test_matrices_take_part_in_the_answer(source: Path) -> None:
    model, ids = adapted(TWO).eval(), torch.arange(5, 15)[None]
    with torch.inference_mode():
        before = model(input_ids=ids).logits
        start_from(model, source)
        assert not torch.allclose(model(input_ids=ids).logits, before, atol=1e-3)


@pytest.mark.parametrize("changes", [{"rank": 2}, {"rank": 8}, {"hidden": 16}], ids=str)
def test_an_adapter_of_another_rank_or_base_is_refused_and_nothing_is_changed(source: Path, changes: dict) -> None:
    model = adapted(TWO, **changes)
    before = state(model)
    with pytest.raises(InputError, match=f"--adapter {source}.*--base and --rank"):
        start_from(model, source)
    after = state(model)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_saved_adapter_is_small_and_names_its_base(source: Path) -> None:
    saved = load_file(source / "adapter_model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float16}
    assert "somewhere/base" in (source / "adapter_config.json").read_text(encoding="utf-8")
    assert not (source / "README.md").exists()
