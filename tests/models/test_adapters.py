"""Adapters that start from another: its matrices and nothing else, or a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from conftest import tiny_bert
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file

from zskd.errors import InputError
from zskd.models.adapters import new_adapter, save_adapter, start_from

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
    for target in ("query", "key", "value", "dense"):
        assert any(f".{target}.lora_A" in name for name in trained)


ANY = {"num_labels": 2, "vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SHAPE = {**ANY, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
FAMILIES = {
    "mpnet": (
        transformers.MPNetConfig(num_hidden_layers=3, **SHAPE),
        {"attention.attn.q", "attention.attn.o", "intermediate.dense", "output.dense"},
    ),
    "distilbert": (
        transformers.DistilBertConfig(dim=32, n_layers=3, n_heads=2, hidden_dim=64, **ANY),
        {"attention.q_lin", "attention.out_lin", "ffn.lin1", "ffn.lin2"},
    ),
    "deberta-v2": (
        transformers.DebertaV2Config(num_hidden_layers=3, **SHAPE),
        {"attention.self.query_proj", "intermediate.dense", "output.dense"},
    ),
    "albert": (
        transformers.AlbertConfig(embedding_size=16, **SHAPE),
        {"attention.query", "ffn", "ffn_output", "pooler", "embedding_hidden_mapping_in"},
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_map_of_the_body_is_adapted_whatever_it_is_called(family: str, tmp_path: Path) -> None:
    config, expected = FAMILIES[family]
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    maps = {name for name, module in model.base_model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert all(any(name.endswith(part) for name in maps) for part in expected)
    adapted = new_adapter(model, 2)
    names = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert {
        name.split(".lora_A")[0].split(f".{model.base_model_prefix}.", 1)[1] for name in names if "lora_A" in name
    } == maps
    assert {name for name in names if "lora_" not in name}  # the head
    save_adapter(adapted, tmp_path / "adapter", "somewhere/base")
    again = new_adapter(transformers.AutoModelForSequenceClassification.from_config(config), 2)
    start_from(again, tmp_path / "adapter")
    halves = {name: value.half().float() for name, value in state(adapted).items() if "lora_" in name}
    assert all(torch.equal(value, state(again)[name]) for name, value in halves.items())


def test_a_part_of_the_head_that_peft_does_not_know_is_trained_whole() -> None:
    model = transformers.AutoModelForSequenceClassification.from_config(FAMILIES["distilbert"][0])
    adapted = new_adapter(model, 2, ["pre_classifier.weight", "pre_classifier.bias", "classifier.weight"])
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert any("pre_classifier.modules_to_save" in name for name in trained)
    assert any(".classifier.modules_to_save" in name for name in trained)


@pytest.mark.parametrize("family", ["mpnet", "distilbert", "deberta-v2"])
def test_the_last_layers_alone_are_adapted(family: str) -> None:
    config = FAMILIES[family][0]
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    adapted = new_adapter(model, 2, last_layers=1)
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad and "lora_" in name}
    assert trained and all(".layer.2." in name for name in trained)


@pytest.mark.parametrize(
    "config",
    [
        transformers.ElectraConfig(embedding_size=16, num_hidden_layers=3, **SHAPE),
        transformers.DebertaV2Config(embedding_size=16, num_hidden_layers=3, **SHAPE),
    ],
    ids=["electra", "deberta-v2"],
)
def test_a_map_before_the_layers_is_none_of_the_last(config: transformers.PreTrainedConfig) -> None:
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    trained = [name for name, p in new_adapter(model, 2, last_layers=2).named_parameters() if p.requires_grad]
    adapted = [name for name in trained if "lora_" in name]
    assert adapted and all(".layer.1." in name or ".layer.2." in name for name in adapted)


def test_an_encoder_with_a_decoder_has_no_last_layers() -> None:
    bart = transformers.BartConfig(
        vocab_size=50, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
    )  # fmt: skip
    with pytest.raises(InputError, match="--last-layers 1: expected a base with one stack"):
        new_adapter(transformers.AutoModelForSequenceClassification.from_config(bart), 2, last_layers=1)


def test_more_layers_than_there_are_and_a_body_without_linear_maps_are_refused() -> None:
    with pytest.raises(InputError, match=r"--last-layers 4: expected at most 2, the layers of the base"):
        new_adapter(tiny_bert(50, TWO), 2, last_layers=4)
    one = transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=1, pad_token_id=0)
    with pytest.raises(InputError, match=r"expected linear maps .* in GPT2ForSequenceClassification, found none"):
        new_adapter(transformers.AutoModelForSequenceClassification.from_config(one), 2)


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
    with pytest.raises(InputError, match=f"--adapter {source}.*--base, --rank and --last-layers"):
        start_from(model, source)
    after = state(model)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_saved_adapter_is_small_and_names_its_base(source: Path) -> None:
    saved = load_file(source / "adapter_model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float16}
    assert "somewhere/base" in (source / "adapter_config.json").read_text(encoding="utf-8")
    assert not (source / "README.md").exists()
