"""What a teacher's name stands for: weights that are frozen, or a callable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import prose, tiny_bert
from hub_server import HubServer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import zskd
from zskd.errors import InputError
from zskd.tasks.task import TASKS
from zskd.teacher.blackbox import BlackBox
from zskd.teacher.classifier import Classifier
from zskd.teacher.load import load_teacher, shows_weights

SST2 = TASKS["sst2"]


def ask(texts: list[str]) -> list[list[float]]:
    """Logits of a teacher without weights."""
    return [[0.0, 1.0]] * len(texts)


def test_folder_is_a_model_that_no_training_changes(teacher_folder: Path, tmp_path: Path) -> None:
    found = load_teacher(SST2, str(teacher_folder), tmp_path, None, None)
    assert isinstance(found, Classifier)
    assert not any(parameter.requires_grad for parameter in found.model.parameters()) and not found.model.training


def test_callable_is_asked(tmp_path: Path) -> None:
    found = load_teacher(SST2, ask, tmp_path, None, "negative=positive,positive=negative")
    assert isinstance(found, BlackBox) and found.order == (1, 0)


def test_name_of_a_function_is_imported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--teacher builtins:len"):
        load_teacher(SST2, "builtins:len", tmp_path, None, None)  # it answers 3, which is no logits


def test_folder_that_is_spelled_like_a_function_is_a_folder(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models:mine").symlink_to(teacher_folder, target_is_directory=True)
    assert isinstance(load_teacher(SST2, "models:mine", tmp_path, None, None), Classifier)


def test_a_model_object_is_the_teacher_of_its_folder(teacher: Classifier, teacher_folder: Path, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(teacher_folder)
    for tokenizer in (None, AutoTokenizer.from_pretrained(teacher_folder)):
        found = load_teacher(SST2, model, tmp_path, tokenizer=tokenizer)
        assert isinstance(found, Classifier) and found.model is model
        assert found.cache_key("fp32", 32) == teacher.cache_key("fp32", 32)
        assert found.name == str(teacher_folder)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_model_object_takes_a_label_map(teacher: Classifier) -> None:
    model = tiny_bert(len(teacher.tokenizer), ("yes", "no"))
    found = load_teacher(SST2, model, tokenizer=teacher.tokenizer, label_map="yes=positive,no=negative")
    assert found.order == (1, 0) and found.name == "BertForSequenceClassification"
    with pytest.raises(InputError, match=r"--teacher BertForSequenceClassification: .*found yes, no"):
        load_teacher(SST2, model, tokenizer=teacher.tokenizer)


def test_a_model_object_without_its_tokenizer_is_refused(teacher: Classifier, tmp_path: Path) -> None:
    model = tiny_bert(len(teacher.tokenizer), SST2.labels)
    for name in ("", "some-user/some-model", str(tmp_path / "gone")):
        model.name_or_path = name
        with pytest.raises(InputError, match="pass tokenizer="):
            load_teacher(SST2, model)


def test_a_tokenizer_of_another_model_is_refused(teacher: Classifier) -> None:
    small = tiny_bert(40, SST2.labels)
    with pytest.raises(InputError, match="--teacher BertForSequenceClassification"):
        load_teacher(SST2, small, tokenizer=teacher.tokenizer)


def test_a_ready_teacher_comes_back_as_it_is(teacher: Classifier, tmp_path: Path) -> None:
    box = load_teacher(SST2, ask, tmp_path)
    assert load_teacher(SST2, teacher) is teacher and load_teacher(SST2, box) is box
    with pytest.raises(InputError, match="--label-map negative=positive"):
        load_teacher(SST2, teacher, label_map="negative=positive,positive=negative")


@pytest.mark.parametrize("kind", ["folder", "callable", "ready"])
def test_a_tokenizer_beside_anything_but_a_model_is_refused(kind: str, teacher: Classifier) -> None:
    given: Any = {"folder": teacher.name, "callable": ask, "ready": teacher}[kind]
    with pytest.raises(InputError, match=r"^tokenizer: expected a model object"):
        load_teacher(SST2, given, tokenizer=teacher.tokenizer)


@pytest.mark.parametrize("outputs", ["labels", "probabilities"])
def test_a_model_answers_with_logits_and_nothing_else(
    outputs: str, teacher: Classifier, teacher_folder: Path, tmp_path: Path
) -> None:
    for given in (teacher, teacher.model, str(teacher_folder)):
        with pytest.raises(InputError, match=f"--teacher-outputs {outputs}: expected a callable"):
            load_teacher(SST2, given, tmp_path, outputs=outputs)


def test_what_shows_weights_is_known_before_it_is_loaded(teacher: Classifier, tmp_path: Path) -> None:
    box = load_teacher(SST2, ask, tmp_path)
    assert [shows_weights(given) for given in ("embedded", teacher, teacher.model)] == [True] * 3
    assert [shows_weights(given) for given in (ask, "module:ask", box)] == [False] * 3


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"problem_type": "multi_label_classification"}, "problem_type 'multi_label_classification'"),
        ({"problem_type": "regression"}, "problem_type 'regression'"),
        ({"id2label": {0: "x"}, "label2id": {"x": 0}}, "num_labels 1"),
        ({"function_to_apply": "sigmoid"}, "function_to_apply 'sigmoid'"),
        ({"label2id": {"negative": 1, "positive": 0}}, "label2id: "),
    ],
)
def test_a_model_object_that_means_something_else_is_refused(
    values: dict[str, Any], part: str, teacher_folder: Path, tmp_path: Path
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(teacher_folder)
    for name, value in values.items():
        setattr(model.config, name, value)
    with pytest.raises(InputError, match=f"--teacher {teacher_folder}: ") as caught:
        load_teacher(SST2, model, tmp_path)
    assert part in str(caught.value)
    with pytest.raises(InputError, match=r"^teacher ") as caught:
        zskd.distill(task="sst2", teacher=model, texts=prose(300), run_dir=tmp_path / "run")
    assert part in str(caught.value)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_model_object_with_another_number_of_outputs_than_labels_is_refused(
    rows: int, teacher_folder: Path, tmp_path: Path
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(teacher_folder)
    model.classifier = torch.nn.Linear(model.config.hidden_size, rows)
    with pytest.raises(InputError, match=rf"expected 2 numbers for an input.* found {rows};"):
        load_teacher(SST2, model, tmp_path).logits((["a fine film"],), max_length=32)


def test_a_callable_of_another_width_is_refused(tmp_path: Path) -> None:
    for width in (1, 3):
        with pytest.raises(InputError, match=rf"expected logits of shape \(8, 2\) .* found \(8, {width}\)"):
            load_teacher(SST2, lambda texts, width=width: [[0.0] * width] * len(texts), tmp_path)


def test_a_model_of_the_hub_is_refused_before_its_weights_are_fetched(
    hub: HubServer, teacher_folder: Path, tmp_path: Path
) -> None:
    files = {path.name: path.read_bytes() for path in teacher_folder.iterdir()}
    config = json.loads(files["config.json"]) | {"problem_type": "multi_label_classification"}
    hub.put("models", "me/many", files | {"config.json": json.dumps(config).encode()})
    with pytest.raises(InputError, match=r"--teacher me/many: .*problem_type 'multi_label_classification'"):
        load_teacher(SST2, "me/many", tmp_path)
    assert hub.seen("GET", "config.json") and not hub.seen("GET", "model.safetensors")
