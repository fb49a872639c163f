"""Loading and fingerprints: whole classifiers only, nothing executed, and every weight counts."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import prose, tiny_bert, word_tokenizer
from peft import LoraConfig, TaskType, get_peft_model
from tokenizers import normalizers
from transformers import AutoTokenizer, BertModel

from zskd.errors import InputError
from zskd.models.loading import (
    Origin,
    backbone_origin,
    count_parameters,
    find_model,
    load_adapted,
    load_weights,
    model_fingerprint,
)
from zskd.models.tokenizers import load_tokenizer, tokenizer_fingerprint
from zskd.student.built import label_config
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier, load_classifier

SST2 = TASKS["sst2"]


@pytest.fixture
def folder(teacher_folder: Path, tmp_path: Path) -> Path:
    """A copy of the teacher that a test may spoil."""
    return Path(shutil.copytree(teacher_folder, tmp_path / "model"))


def refused(folder: Path, part: str = "", **options: Any) -> None:
    with pytest.raises(InputError) as caught:
        load_weights(find_model(str(folder), None, flag="--teacher"), flag="--teacher", **options)
    assert f"--teacher {folder}" in str(caught.value) and part in str(caught.value)


def test_fingerprint_changes_with_every_single_weight(teacher: Classifier) -> None:
    model = copy.deepcopy(teacher.model)
    before = model_fingerprint(model)
    assert before == teacher.fingerprint
    for name, parameter in model.named_parameters():
        flat = parameter.data.view(-1)
        old = flat[-1].clone()
        flat[-1] = torch.nextafter(old, torch.tensor(9.0))
        assert model_fingerprint(model) != before, name
        flat[-1] = old
    assert model_fingerprint(model) == before


def test_fingerprint_covers_names_shapes_and_scalars() -> None:
    class Small(torch.nn.Module):
        def __init__(self, **tensors: torch.Tensor) -> None:
            super().__init__()
            for name, tensor in tensors.items():
                self.register_buffer(name, tensor)

    ones = torch.ones(2, 3)
    models = [Small(a=ones), Small(b=ones), Small(a=ones.T.contiguous()), Small(a=ones, b=ones)]
    models += [Small(a=torch.tensor(1.0)), Small(a=torch.tensor(2.0))]
    assert len({model_fingerprint(model) for model in models}) == len(models)
    assert model_fingerprint(Small(a=ones.T.contiguous().T)) == model_fingerprint(models[0])


def test_fingerprints_survive_saving(teacher: Classifier, tmp_path: Path) -> None:
    teacher.model.save_pretrained(tmp_path)
    teacher.tokenizer.save_pretrained(tmp_path)
    again = load_classifier(SST2, str(tmp_path), tmp_path)
    assert again.fingerprint == teacher.fingerprint
    assert again.tokenizer_fingerprint == teacher.tokenizer_fingerprint
    assert again.parameters == teacher.parameters == count_parameters(teacher.model)


def test_tokenizer_fingerprint_follows_the_ids() -> None:
    tokenizer = word_tokenizer(prose(20))
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(["a", "the old river"], padding=True, truncation=True, max_length=4)
    assert tokenizer_fingerprint(tokenizer) == before  # a call changes no id
    assert tokenizer_fingerprint(word_tokenizer(prose(30))) != before
    tokenizer.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    assert tokenizer_fingerprint(tokenizer) != before


def test_shared_weights_are_counted_once() -> None:
    layer = torch.nn.Linear(3, 4)
    assert count_parameters(torch.nn.Sequential(layer, layer)) == 16


def test_a_classifier_loads_frozen_in_float32(folder: Path, teacher: Classifier, tmp_path: Path) -> None:
    model = tiny_bert(len(teacher.tokenizer), ("POSITIVE", "Negative")).to(torch.bfloat16)
    model.save_pretrained(folder)
    loaded = load_classifier(SST2, str(folder), tmp_path)
    assert loaded.order == (1, 0) and loaded.revision is None
    assert loaded.model.dtype == torch.float32 and not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_a_model_without_head_is_no_teacher_but_may_be_a_student(folder: Path, teacher: Classifier) -> None:
    teacher.model.bert.save_pretrained(folder)
    assert type(teacher.model.bert) is BertModel
    refused(folder, "classifier.weight")
    student = load_weights(Origin(str(folder)), flag="--student", new_head=label_config(TASKS["mnli"]))
    assert student.config.num_labels == 3 and not student.training
    assert torch.equal(
        student.bert.embeddings.word_embeddings.weight, teacher.model.bert.embeddings.word_embeddings.weight
    )


SPOILT = {
    "no weights": lambda path: path.unlink(),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "other bytes": lambda path: path.write_bytes(b"\xff" * 2_000),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_spoilt_weights_are_refused(spoil: Any, folder: Path) -> None:
    spoil(folder / "model.safetensors")
    refused(folder)


@pytest.mark.parametrize(
    "config", ["{", "{}", '{"model_type": "no-such-model"}', '{"model_type": "bert", "hidden_size": 40}']
)
def test_spoilt_configurations_are_refused(config: str, folder: Path) -> None:
    (folder / "config.json").write_text(config)
    refused(folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"--teacher {tmp_path}/none: .*no such folder"):
        find_model(str(tmp_path / "none"), None, flag="--teacher")


def test_an_older_checkpoint_is_read_without_running_its_code(
    folder: Path, teacher: Classifier, tmp_path: Path
) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(teacher.model.state_dict(), folder / "pytorch_model.bin")
    assert model_fingerprint(load_weights(Origin(str(folder)), flag="--teacher")) == teacher.fingerprint

    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"classifier.weight": Trap()}, folder / "pytorch_model.bin")
    refused(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    refused(folder)
    assert not (tmp_path / "executed").exists()


def test_a_tokenizer_without_vocabulary_is_refused(folder: Path) -> None:
    assert len(load_tokenizer(Origin(str(folder)), flag="--teacher")) > 100
    for path in [*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("special*")]:
        path.unlink()
    with pytest.raises(InputError, match=f"--teacher {folder}: .*tokenizer"):
        load_tokenizer(Origin(str(folder)), flag="--teacher")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(InputError, match=f"--teacher {folder}: .*tokenizer"):
        load_tokenizer(Origin(str(folder)), flag="--teacher")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"{}", b""])
def test_a_spoilt_tokenizer_is_refused(content: bytes, folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(InputError, match=f"--teacher {folder}: .*tokenizer"):
        load_tokenizer(Origin(str(folder)), flag="--teacher")


@pytest.mark.parametrize("bias", ["none", "lora_only", "all"])
def test_an_adapter_is_merged_into_its_backbone(bias: Any, folder: Path, teacher: Classifier, tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = LoraConfig(task_type=TaskType.SEQ_CLS, r=2, target_modules=["query", "value"], bias=bias)
    model = get_peft_model(copy.deepcopy(teacher.model).requires_grad_(), options)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "classifier.modules_to_save" in name or (parameter.requires_grad and "bias" in name):
            torch.nn.init.normal_(parameter, std=0.3)
    model.eval().peft_config["default"].base_model_name_or_path = str(folder)
    model.save_pretrained(tmp_path / "adapter")
    model.config.save_pretrained(tmp_path / "adapter")
    merged, tokenizer = load_adapted(tmp_path / "adapter", tmp_path, flag="--teacher")
    assert count_parameters(merged) == teacher.parameters
    inputs = tokenizer("a fine film", return_tensors="pt")
    with torch.inference_mode():
        torch.testing.assert_close(merged(**inputs).logits, model(**inputs).logits, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(merged(**inputs).logits, teacher.model(**inputs).logits)
    loaded = load_classifier(SST2, str(tmp_path / "adapter"), tmp_path)
    assert loaded.fingerprint == model_fingerprint(merged) and loaded.order == (0, 1)


def test_a_folder_is_its_own_backbone(folder: Path, tmp_path: Path) -> None:
    assert backbone_origin(str(folder), tmp_path, flag="--base") == Origin(str(folder))
    assert AutoTokenizer.from_pretrained(folder).model_max_length == 128
