"""Nothing in a loaded model is new but what the caller named: every faulty folder, with every verb and flag."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import faulty
import numpy as np
import pytest
import torch
from conftest import as_flags
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, BertConfig

from zskd.config.distillation import DistillConfig
from zskd.config.verbs import FinetuneConfig
from zskd.errors import InputError
from zskd.evaluation.scoring import evaluate_rows
from zskd.finetune import finetune
from zskd.methods.adversarial.generator import load_generator
from zskd.models.loading import Origin, load_weights
from zskd.models.weights import load_checked
from zskd.student.built import label_config
from zskd.student.initial import load_student
from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier, load_classifier

SST2 = TASKS["sst2"]
Build = Callable[[Path], None]


def named(builders: Any) -> Any:
    return pytest.mark.parametrize("build", builders, ids=lambda build: build.__name__)


@pytest.fixture
def folder(teacher_folder: Path, tmp_path: Path) -> Path:
    """A copy of the teacher that a test may spoil."""
    return Path(shutil.copytree(teacher_folder, tmp_path / "model"))


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    """SST-2's probe as training and dev file."""
    folder = tmp_path / "glue" / "SST-2"
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        shutil.copy(str(SST2.probe_path()), folder / name)
    return folder.parent


def probe_logits(model: torch.nn.Module, tokenizer: Any) -> np.ndarray:
    texts = read_labelled(SST2, SST2.probe_path()).texts[0]
    with torch.inference_mode():
        return model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.numpy()


def test_the_lists_say_all_of_every_builder() -> None:
    starts = [*faulty.NO_START, *faulty.KEEPS_HEAD, *faulty.NEW_HEAD]
    known = [*faulty.READ, *faulty.REFUSED]
    assert len(set(starts)) == len(starts) and set(starts) == set(known) and not set(faulty.READ) & set(faulty.REFUSED)
    public = {f for n, f in vars(faulty).items() if callable(f) and not n.startswith("_") and f.__module__ == "faulty"}
    assert public == set(known)


@named(faulty.READ)
def test_a_whole_model_answers_as_before(build: Build, folder: Path, teacher: Classifier, tmp_path: Path) -> None:
    build(folder)
    loaded = load_classifier(SST2, str(folder), tmp_path)
    rows = read_labelled(SST2, SST2.probe_path())
    assert evaluate_rows(SST2, rows, loaded, 64, "fp32")["accuracy"] == 1.0
    texts = rows.texts
    np.testing.assert_allclose(
        loaded.logits(texts, max_length=64), teacher.logits(texts, max_length=64), atol=1e-5, rtol=0
    )
    if "old_names" not in build.__name__:  # transformers saves these as they were
        loaded.model.save_pretrained(tmp_path / "again")
        assert set(load_file(tmp_path / "again" / "model.safetensors")) == set(teacher.model.state_dict())


def commands(folder: Path, config: DistillConfig, data: Path, out: Path) -> dict[str, list[str]]:
    """Every verb and flag that takes a model to be asked."""
    task = ["--task", "sst2"]
    return {
        "distill": ["distill", *as_flags(replace(config, teacher=str(folder), output_dir=str(out / "run")))],
        "evaluate": ["evaluate", *task, "--model", str(folder), "--data", "probe"],
        "diagnose": ["diagnose", str(folder), *task, "--corpus", *config.corpus, "--texts", "64"],
        "predict": ["predict", "--model", str(folder), "--input", str(data)],
        "predict --task": ["predict", *task, "--model", str(folder), "--input", str(data)],
        "export": ["export", str(folder), "--format", "onnx", "--output-dir", str(out / "onnx")],
    }


@named(faulty.REFUSED)
def test_a_faulty_model_is_asked_by_no_verb(
    build: Build, cli: Any, folder: Path, tiny_config: DistillConfig, tmp_path: Path
) -> None:
    build(folder)
    data = tmp_path / "texts.txt"
    data.write_text("a fine film\n", encoding="utf-8")
    for name, arguments in commands(folder, tiny_config, data, tmp_path).items():
        if build in faulty.NEEDS_TASK and name in ("predict", "export"):
            continue
        done = cli(*arguments)
        assert done.code == 2 and not done.out.strip(), name
        (error,) = done.errors
        assert str(folder) in error and faulty.REFUSED[build] in error, name
    assert not (tmp_path / "run" / "student").exists() and not (tmp_path / "onnx").exists()


@named(faulty.KEEPS_HEAD)
def test_a_start_keeps_the_head_of_its_own_task(build: Build, folder: Path, teacher: Classifier) -> None:
    build(folder)
    if build is faulty.without_pooler:
        student, _, _ = load_student(SST2, str(folder), None)
        assert torch.equal(student.classifier.weight, teacher.model.classifier.weight)
        return
    student, tokenizer, _ = load_student(SST2, str(folder), None)
    np.testing.assert_allclose(
        probe_logits(student, tokenizer), probe_logits(teacher.model, tokenizer), atol=1e-5, rtol=0
    )
    assert student.config.id2label == {0: "negative", 1: "positive"}
    assert student.config.problem_type == "single_label_classification"
    assert not hasattr(student.config, "function_to_apply")


@named(faulty.NEW_HEAD)
def test_a_start_gets_a_new_head_which_the_log_names(
    build: Build, folder: Path, teacher: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    build(folder)
    caplog.set_level(logging.INFO, "zskd")
    student, _, _ = load_student(SST2, str(folder), None)
    assert f"--student {folder}: new weights, drawn at random: classifier.bias, classifier.weight" in caplog.text
    assert student.classifier.weight.shape == (2, 32)
    assert student.classifier.weight.std() < 0.04 and not student.classifier.bias.any()
    assert not torch.isclose(student.classifier.weight, teacher.model.classifier.weight).all(dim=1).any()
    for name, weight in teacher.model.bert.state_dict().items():
        assert torch.equal(student.bert.state_dict()[name], weight), name
    assert student.config.id2label == {0: "negative", 1: "positive"}


@named(faulty.NO_START)
def test_training_starts_from_no_faulty_model(
    build: Build, cli: Any, folder: Path, tiny_config: DistillConfig, glue: Path, tmp_path: Path
) -> None:
    build(folder)
    part = "found an adapter" if "adapter" in build.__name__ else faulty.REFUSED[build]
    distill = as_flags(replace(tiny_config, student=str(folder)))
    options = {"--base": folder, "--output-dir": tmp_path / "teacher", "--glue-dir": glue, "--task": "sst2"}
    flat = [str(value) for pair in options.items() for value in pair]
    for flag, arguments in {"--student": ["distill", *distill], "--base": ["finetune", *flat]}.items():
        (error,) = cli(*arguments).errors
        assert f"{flag} {folder}" in error and part in error


def test_what_a_start_may_lack_is_the_head_and_the_pooler_only(folder: Path) -> None:
    faulty.without_matrix(folder)
    faulty.without_head(folder)
    with pytest.raises(InputError) as caught:
        load_weights(Origin(str(folder)), flag="--student", new_head=label_config(SST2))
    assert str(caught.value) == (
        f"--student {folder}: expected a fine-tuned sequence classifier (BertForSequenceClassification), of which only "
        "the head may be new, found no bert.encoder.layer.1.attention.self.query.weight (32, 32); name a model that "
        "was saved whole"
    )


def test_finetune_starts_from_the_heads_rows_by_name(folder: Path, glue: Path, tmp_path: Path) -> None:
    """A classifier in the other order, and a rate at which nothing is learned: it still answers right."""
    faulty.other_order(folder)
    faulty.multi_label(folder)
    options: dict[str, Any] = {"learning_rate": 1e-9, "epochs": 1.0, "selection_rows": 16, "checkpoints": 1}
    for full in (True, False):
        out = tmp_path / f"teacher-{full}"
        done = finetune(
            FinetuneConfig(
                task="sst2", base=str(folder), full=full, glue_dir=str(glue), output_dir=str(out), precision="fp32",
                cache_dir=str(tmp_path), **options,
            )
        )  # fmt: skip
        assert done.record["scores"]["probe"]["accuracy"] == 1.0
        saved = json.loads((out / "config.json").read_text(encoding="utf-8"))
        assert saved["problem_type"] == "single_label_classification"
        assert saved["id2label"] == {"0": "negative", "1": "positive"}


def test_an_adapter_takes_a_pooler_that_its_base_lacks_with_it(folder: Path, glue: Path, tmp_path: Path) -> None:
    """Else every load would draw another one, and the adapter would answer differently each time."""
    faulty.without_head(folder)
    faulty.without_pooler(folder)
    config = FinetuneConfig(
        task="sst2", base=str(folder), glue_dir=str(glue), output_dir=str(tmp_path / "first"), precision="fp32",
        selection_rows=16, checkpoints=1, epochs=1.0, cache_dir=str(tmp_path),
    )  # fmt: skip
    finetune(config)
    texts = read_labelled(SST2, SST2.probe_path()).texts
    answers = [load_classifier(SST2, str(tmp_path / "first"), tmp_path).logits(texts, max_length=64) for _ in range(2)]
    np.testing.assert_array_equal(*answers)
    saved = load_file(tmp_path / "first" / "adapter_model.safetensors")
    assert "base_model.model.bert.pooler.dense.weight" in saved
    finetune(replace(config, adapter=str(tmp_path / "first"), output_dir=str(tmp_path / "second"), learning_rate=1e-9))
    again = load_file(tmp_path / "second" / "adapter_model.safetensors")["base_model.model.bert.pooler.dense.weight"]
    torch.testing.assert_close(again, saved["base_model.model.bert.pooler.dense.weight"])


def test_an_adapter_with_a_head_is_no_whole_model_for_the_loader_either(folder: Path) -> None:
    """Also where whole weights lie beside it, because nobody knows which of the two is meant."""
    faulty.adapter(folder)
    for _ in range(2):
        with pytest.raises(InputError, match=f"--base {folder}: expected a whole model, found an adapter"):
            load_weights(Origin(str(folder)), flag="--base", new_head=label_config(SST2))
        shutil.copy(folder / "base" / "model.safetensors", folder)


def test_names_of_an_adapter_may_be_wrapped_too(folder: Path, teacher: Classifier, tmp_path: Path) -> None:
    faulty._adapter(folder, lambda found: {f"_orig_mod.{name}": value + 0.01 for name, value in found.items()})
    loaded = load_classifier(SST2, str(folder), tmp_path)
    torch.testing.assert_close(loaded.model.classifier.weight, teacher.model.classifier.weight + 0.01)
    queries = [model.bert.encoder.layer[1].attention.self.query.weight for model in (loaded.model, teacher.model)]
    assert (queries[0] - queries[1]).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "expected JSON"),
        ("{}", "expected base_model_name_or_path"),
        ('{"base_model_name_or_path": "x", "peft_type": "PREFIX_TUNING"}', "peft_type LORA, found 'PREFIX_TUNING'"),
        ("[]", "adapter_config.json: expected a JSON object, found a list"),
        ("", "adapter_config.json: expected JSON, found: Expecting value"),
        ('{"base_model_name_or_path": null}', "a folder or Hub id, found none"),
        ('{"base_model_name_or_path": ["x"]}', "a folder or Hub id, found ['x']"),
        ('{"base_model_name_or_path": "x", "megatron_config": {}}', "found megatron_config in its adapter_config.json"),
    ],
)
def test_an_adapter_that_does_not_say_what_it_is_is_refused(
    content: str, part: str, folder: Path, tmp_path: Path
) -> None:
    faulty.adapter(folder)
    (folder / "adapter_config.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=str(folder)) as caught:
        load_classifier(SST2, str(folder), tmp_path)
    assert part in str(caught.value)


def test_an_adapter_without_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    faulty.adapter(folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=f"--teacher {folder}: expected adapter_model.safetensors or"):
        load_classifier(SST2, str(folder), tmp_path)


ADAPTERS = {
    faulty.adapter: "",
    faulty.adapter_without_head: "",
    faulty.adapter_without_half: "no base_model.model.bert.encoder.layer.1",
    faulty.adapter_of_another: "and 12 more",
    faulty.adapter_of_another_width: "(2, 16) instead of (2, 32)",
}


@pytest.mark.parametrize(("build", "part"), ADAPTERS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_an_adapter_to_start_from_needs_no_head(
    build: Build, part: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from zskd.models import adapters

    monkeypatch.setattr(adapters, "_linear_maps", lambda *_: ["query", "value"])
    build(folder)
    model = load_weights(Origin(str(folder / "base")), flag="--base", new_head=label_config(SST2))
    wrapped = adapters.new_adapter(model, 2)
    caplog.set_level(logging.INFO, "zskd")
    if part:
        with pytest.raises(InputError, match=f"--adapter {folder}: its matrices do not fit") as caught:
            adapters.start_from(wrapped, folder)
        assert part in str(caught.value)
    else:
        adapters.start_from(wrapped, folder)
        assert "the head is new" in caplog.text


GENERATORS: dict[str, tuple[Build, str]] = {
    "compiled": (faulty.compiled, ""),
    "parallel": (faulty.parallel, ""),
    "lacks a matrix": (faulty.without_matrix, "found no bert.encoder.layer.1.attention.self.query.weight"),
    "lacks its head": (lambda folder: faulty._without(folder, "cls."), "found no cls.predictions"),
    "more layers": (faulty.shallower_config, "bert.encoder.layer.1.attention.output.LayerNorm.bias"),
    "narrower": (faulty.narrower_config, "(64,) instead of (32,)"),
}


@pytest.mark.parametrize(("build", "part"), GENERATORS.values(), ids=GENERATORS)
def test_a_generator_obeys_the_same_rule(build: Build, part: str, folder: Path, teacher: Classifier) -> None:
    config = BertConfig(**{k: v for k, v in teacher.model.config.to_dict().items() if k != "architectures"})
    made = AutoModelForMaskedLM.from_config(config).eval()
    made.save_pretrained(folder)
    build(folder)
    if part:
        with pytest.raises(InputError, match=f"--generator {folder}: ") as caught:
            load_generator(str(folder))
        assert part in str(caught.value)
    else:
        model, _ = load_generator(str(folder))
        for name, weight in made.state_dict().items():
            assert torch.equal(model.state_dict()[name], weight), name


def test_a_long_list_of_names_ends_with_their_number(folder: Path) -> None:
    from transformers import AutoModelForSequenceClassification as Kind

    faulty.another_base(folder)
    with pytest.raises(InputError) as caught:
        load_checked(Kind, str(folder), flag="--model")
    assert str(caught.value).count("bert.embeddings") == 4 and "more; name a model" in str(caught.value)


@pytest.mark.parametrize("flag", ["--teacher", "--student"])
@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/model.safetensors", "inner/model.safetensors"])
def test_an_index_that_leaves_its_folder_is_not_followed(name: str, flag: str, folder: Path) -> None:
    weights = folder / "model.safetensors"
    index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(weights), name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    weights.rename(folder.parent / "model.safetensors")
    with pytest.raises(InputError) as caught:
        load_weights(Origin(str(folder)), flag=flag, new_head=label_config(SST2) if flag == "--student" else None)
    assert str(caught.value) == (
        f"{flag} {folder}: model.safetensors.index.json: expected names of files in its folder, found {name!r}"
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_hidden_layers": "2"}, "expected a whole number above 0 as num_hidden_layers in config.json, found '2'"),
        ({"vocab_size": None}, "expected a whole number above 0 as vocab_size in config.json, found None"),
        ({"num_attention_heads": 0}, "expected a whole number above 0 as num_attention_heads in config.json, found 0"),
        ({"num_labels": 3 * 10**9}, "expected at most 100,000 classes as num_labels in config.json, found 3000000000"),
        ({"num_hidden_layers": 10**9}, "expected at most 1,000 as num_hidden_layers in config.json, found 1000000000"),
        (
            {"hidden_size": 10**5},
            "expected a config.json that describes its weights, found one of .* parameters",
        ),
        ({"pad_token_id": 10**6}, "the model does not load: Padding_idx must be within num_embeddings"),
        ({"attn_implementation": "flash_attention_2"}, "the model does not load: .*FlashAttention2"),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
            "the model does not load: .*bitsandbytes",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_that_fit_no_model_are_said(values: dict[str, Any], said: str, folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(InputError, match=rf"--teacher .*model: {said}"):
        load_weights(Origin(str(folder)), flag="--teacher")


def test_a_folder_that_asks_for_tuples(folder: Path, teacher_folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"return_dict": False, "torchscript": True}))
    texts = read_labelled(SST2, SST2.probe_path()).texts
    found, right = (
        load_classifier(SST2, str(name), folder).logits(texts, max_length=32) for name in (folder, teacher_folder)
    )
    np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("values", [{"r": 10**9}, {"rank_pattern": {"query": 10**9}}])
def test_a_rank_that_no_matrix_has_makes_no_matrices(values: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    faulty.adapter(folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(InputError, match=r"expected the rank of its matrices \(2\) as r .*, found 1000000000$"):
        load_classifier(SST2, str(folder), tmp_path)


@pytest.mark.parametrize(
    "values", [{"r": "2"}, {"r": None}, {"r": True}, {"rank_pattern": [2]}, {"rank_pattern": {"query": {}}}]
)
def test_a_rank_that_is_no_number_is_said(values: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    faulty.adapter(folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(
        InputError, match=rf"--teacher {folder}: (expected whole numbers as r|the adapter does not fit)"
    ):
        load_classifier(SST2, str(folder), tmp_path)


def test_a_mistake_in_the_check_of_ranks_keeps_its_traceback(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("own")

    faulty.adapter(folder)
    monkeypatch.setattr("zskd.models.adapters._check_rank", broken)
    with pytest.raises(KeyError, match="own"):
        load_classifier(SST2, str(folder), tmp_path)


@pytest.mark.parametrize("name", [None, [], {"a": 1}])
def test_a_class_without_a_name_is_said(name: object, folder: Path) -> None:
    faulty._config(folder, id2label={"0": name, "1": "positive"}, label2id=None)
    with pytest.raises(InputError, match=r"id2label: expected names in config.json, found"):
        load_weights(Origin(str(folder)), flag="--teacher")


def test_a_tokenizer_lists_the_ids_it_gives(folder: Path, tmp_path: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_input_names": ["a"]}))
    with pytest.raises(InputError, match=r"expected input_ids among model_input_names .*, found \['a'"):
        load_classifier(SST2, str(folder), tmp_path)


def test_only_weights_that_are_loaded_must_be_readable_and_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"x")
    (folder / "training_args.bin").symlink_to("gone")
    monkeypatch.setattr("os.access", lambda path, *_, **__: Path(path).suffix != ".bin")
    load_weights(Origin(str(folder)), flag="--teacher")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model: expected files that can be read, found no .* pytorch_model\.bin$"):
        load_weights(Origin(str(folder)), flag="--teacher")


@pytest.mark.parametrize("name", ["../x.safetensors", "a/x.safetensors.index.json", 3])
def test_a_configuration_names_weights_in_its_folder(name: object, folder: Path) -> None:
    faulty._config(folder, transformers_weights=name)
    with pytest.raises(InputError, match=r"expected a file in its folder as transformers_weights, found "):
        load_weights(Origin(str(folder)), flag="--teacher")


def test_weights_under_a_name_of_the_configuration(folder: Path) -> None:
    faulty._config(folder, transformers_weights="x.safetensors")
    (folder / "model.safetensors").rename(folder / "x.safetensors")
    load_weights(Origin(str(folder)), flag="--teacher")
    (folder / "x.safetensors").rename(folder / "y.safetensors")
    os.mkfifo(folder / "x.safetensors")
    with pytest.raises(InputError, match=r"x\.safetensors: expected a file, found a pipe"):
        load_weights(Origin(str(folder)), flag="--teacher")


def test_a_mistake_of_ones_own_is_no_fault_of_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("own")

    weights = {f"module.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr("zskd.models.weights._check_twice", broken)
    with pytest.raises(KeyError, match="own"):
        load_weights(Origin(str(folder)), flag="--teacher")
