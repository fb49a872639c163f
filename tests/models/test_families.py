"""Every family's logits are those of transformers with the ids that the model was trained with, whatever the verb."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from families import FAMILIES, LABELS, columns, plain_logits, write_folder
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, pipeline

from zskd.cli import main
from zskd.errors import InputError, RunError
from zskd.evaluation.scoring import evaluate_rows
from zskd.inference.export import FLOAT, export_onnx, onnx_answers
from zskd.inference.predict import answer
from zskd.inference.saved import load_saved
from zskd.metrics.scores import softmax
from zskd.models.tokenizers import guards
from zskd.student.initial import load_student
from zskd.tasks.labelled import Labelled
from zskd.tasks.task import Task, find_task
from zskd.teacher.classifier import Classifier, load_classifier
from zskd.teacher.labelling import label_texts

LENGTH = 120
EXACT = {"rtol": 1e-5, "atol": 1e-5}
every_family = pytest.mark.parametrize("family", FAMILIES)
texts_of_each = pytest.mark.parametrize("texts", [1, 2], ids=["one text", "two texts"])


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = write_folder(tmp_path_factory.mktemp("family") / family, family)
        return made[family]

    return folder


@pytest.fixture(scope="session")
def task_files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    folder, made = tmp_path_factory.mktemp("tasks"), {}
    for texts, names in {1: "[text]", 2: "[text, other]"}.items():
        path = folder / f"texts{texts}.yaml"
        path.write_text(f'text_columns: {names}\nlabel_column: label\nlabels: ["no", "yes"]\n')
        made[texts] = str(path)
    return made


@pytest.fixture(scope="session")
def pair_tasks(task_files: dict[int, str]) -> dict[int, Task]:
    return {texts: find_task(path) for texts, path in task_files.items()}


def wanted(folder: Path, family: str, texts: int) -> np.ndarray:
    found = plain_logits(folder, columns(texts), segments=FAMILIES[family].segments)
    assert np.ptp(found, axis=0).min() > 1e-2, "the logits have to differ from text to text"
    return found


def load(folder: Path, task: Task, cache: Path) -> Classifier:
    return load_classifier(task, str(folder), cache)


@texts_of_each
@every_family
def test_every_verb_reads_what_the_model_was_trained_with(
    family: str, texts: int, family_folder: Callable[[str], Path], pair_tasks: dict[int, Task], tmp_path: Path
) -> None:
    """The functions beneath labelling, `evaluate`, `predict` and `diagnose`, without the processes around them."""
    folder, rows = family_folder(family), columns(texts)
    plain = wanted(folder, family, texts)
    teacher = load(folder, pair_tasks[texts], tmp_path)
    np.testing.assert_allclose(teacher.logits(rows, max_length=LENGTH, precision="fp32"), plain, **EXACT)
    for i in range(len(rows[0])):
        alone = tuple([column[i]] for column in rows)
        np.testing.assert_allclose(teacher.logits(alone, max_length=LENGTH, precision="fp32"), plain[[i]], **EXACT)
    pool = Dataset.from_dict(dict(zip(("text", "text_b"), rows, strict=False)))
    faster = teacher.for_inference("fp32")
    labelled = label_texts(pool, faster, tmp_path, max_length=LENGTH, precision="fp32", description="")
    np.testing.assert_allclose(labelled.dataset["teacher_logits"], plain, **EXACT)
    truth = Labelled(rows, [int(index) for index in plain.argmax(axis=1)])
    scores = evaluate_rows(pair_tasks[texts], truth, teacher, LENGTH, "fp32")
    assert scores["accuracy"] == 1.0 and scores["rows"] == len(rows[0])
    saved = load_saved(str(folder), flag="--model", max_length=LENGTH)
    assert saved.labels == LABELS
    np.testing.assert_allclose(answer(saved, list(zip(*rows, strict=True)), "fp32"), softmax(plain), **EXACT)


@texts_of_each
@every_family
def test_half_precision_has_the_same_classes(
    family: str, texts: int, family_folder: Callable[[str], Path], pair_tasks: dict[int, Task], tmp_path: Path
) -> None:
    folder, rows = family_folder(family), columns(texts)
    plain = wanted(folder, family, texts)
    teacher = load(folder, pair_tasks[texts], tmp_path)
    found = teacher.for_inference("bf16").logits(rows, max_length=LENGTH, precision="bf16")
    assert np.abs(found - plain).max() <= 2e-2
    sure = np.abs(plain[:, 0] - plain[:, 1]) > 4e-2
    assert sure.any()
    assert (found.argmax(axis=1) == plain.argmax(axis=1))[sure].all()


GUARDED = {
    "bert-own": {1: (), 2: ("pair segments",)},
    "rembert": {1: ("file",), 2: ("file", "pair segments")},
    "xlnet": {1: ("segments",), 2: ("segments",)},
}


@texts_of_each
@every_family
def test_only_affected_families_have_new_keys(
    family: str, texts: int, family_folder: Callable[[str], Path], pair_tasks: dict[int, Task], tmp_path: Path
) -> None:
    teacher = load(family_folder(family), pair_tasks[texts], tmp_path)
    expected = GUARDED.get(family, {}).get(texts, ())
    assert teacher.guards == expected == guards(teacher.tokenizer, texts)
    key = teacher.cache_key("fp32", LENGTH)
    assert len(key) == 5 + bool(expected) and key[5:] == ([{"guards": list(expected)}] if expected else [])


# --- the same through the command line ---

NO_ONNX = {"xlnet": "Cannot find a compatible OpOverload for aten.sub"}  # torch subtracts a tensor from 1.0 there


@pytest.mark.slow
@texts_of_each
@every_family
def test_verbs_of_the_command_line(
    family: str,
    texts: int,
    family_folder: Callable[[str], Path],
    pair_tasks: dict[int, Task],
    task_files: dict[int, str],
    corpus_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, rows = family_folder(family), columns(texts)
    plain = wanted(folder, family, texts)
    classes = plain.argmax(axis=1)
    more = ["--precision", "fp32", "--json", "--max-length", str(LENGTH), "--cache-dir", str(tmp_path / "cache")]
    data = tmp_path / "data.tsv"
    names = pair_tasks[texts].text_columns
    lines = ["\t".join([*names, "label"])]
    lines += ["\t".join([*row, str(label)]) for *row, label in zip(*rows, classes, strict=True)]
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    inputs = tmp_path / "inputs.tsv"
    inputs.write_text("\n".join("\t".join(row) for row in zip(*rows, strict=True)) + "\n", encoding="utf-8")

    def run(*arguments: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main([*arguments]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    task = ["--task", task_files[texts]]
    (scores,) = run("evaluate", "--model", str(folder), *task, "--data", str(data), *more)
    assert scores["accuracy"] == 1.0 and scores["rows"] == len(classes)
    found = run("predict", "--model", str(folder), "--input", str(inputs), *more)
    assert len(found) == len(classes)
    shown = np.array([[row["probabilities"][label] for label in LABELS] for row in found])
    np.testing.assert_allclose(shown, softmax(plain), rtol=0, atol=1.1e-5)
    (seen,) = run("diagnose", str(folder), *task, "--corpus", str(corpus_file), "--texts", "64",
                  "--data", str(data), *more)  # fmt: skip
    assert seen["signals"]["calibration"]["accuracy"] == 1.0
    confidence = softmax(plain).max(axis=1).mean()
    assert seen["signals"]["calibration"]["confidence"] == pytest.approx(confidence, abs=1e-5)


@pytest.mark.slow
@every_family
def test_export(family: str, family_folder: Callable[[str], Path], tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = family_folder(family)
    saved = load_saved(str(folder), flag="--model", max_length=LENGTH)
    if family in NO_ONNX:
        with pytest.raises(RunError, match=f"^{family}: torch cannot write it as ONNX: {NO_ONNX[family]}") as caught:
            export_onnx(saved, tmp_path / "onnx")
        assert "\x1b" not in str(caught.value) and not (tmp_path / "onnx").exists()
        return
    export_onnx(saved, tmp_path / "onnx")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "onnx")  # what a runtime reads beside the model
    answers = onnx_answers(tmp_path / "onnx" / FLOAT, tokenizer, LENGTH)
    for texts in (1, 2):
        np.testing.assert_allclose(answers(columns(texts)), wanted(folder, family, texts), rtol=1e-4, atol=1e-4)


# --- how the weights are stored ---


def sharded(model: PreTrainedModel, folder: Path) -> None:
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2


def as_bin(model: PreTrainedModel, folder: Path) -> None:
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def as_sharded_bin(model: PreTrainedModel, folder: Path) -> None:
    model.config.save_pretrained(folder)
    weights = model.state_dict()
    parts = {f"pytorch_model-0000{i + 1}-of-00002.bin": list(weights)[i::2] for i in range(2)}
    for name, keys in parts.items():
        torch.save({key: weights[key] for key in keys}, folder / name)
    places = {key: name for name, keys in parts.items() for key in keys}
    index = {"metadata": {"total_size": sum(w.numel() * 4 for w in weights.values())}, "weight_map": places}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def in_half(dtype: torch.dtype) -> Callable[[PreTrainedModel, Path], None]:
    def save(model: PreTrainedModel, folder: Path) -> None:
        model.to(dtype).save_pretrained(folder)
        assert json.loads((folder / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")

    return save


STORED: dict[str, Callable[[PreTrainedModel, Path], None]] = {
    "sharded": sharded,
    "bin": as_bin,
    "sharded bin": as_sharded_bin,
    "float16": in_half(torch.float16),
    "bfloat16": in_half(torch.bfloat16),
}


@texts_of_each
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("family", ["bert", "albert", "xlnet", "gpt2"])
def test_weights_are_those_of_the_files(
    family: str, stored: str, texts: int, pair_tasks: dict[int, Task], tmp_path: Path
) -> None:
    """Halves are read in float32, as the numbers that are in the file."""
    folder = write_folder(tmp_path / "model", family, save=STORED[stored])
    assert ("bin" in stored) == (not list(folder.glob("*.safetensors")))
    plain = wanted(folder, family, texts)
    teacher = load(folder, pair_tasks[texts], tmp_path)
    assert {weight.dtype for weight in teacher.model.parameters()} == {torch.float32}
    np.testing.assert_allclose(teacher.logits(columns(texts), max_length=LENGTH, precision="fp32"), plain, **EXACT)
    saved = load_saved(str(folder), flag="--model", max_length=LENGTH)
    rows = list(zip(*columns(texts), strict=True))
    np.testing.assert_allclose(answer(saved, rows, "fp32"), softmax(plain), **EXACT)


def test_a_bin_file_that_runs_code_is_refused(pair_tasks: dict[int, Task], tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (tmp_path.joinpath("harm").touch, ())

    def save(model: PreTrainedModel, folder: Path) -> None:
        model.config.save_pretrained(folder)
        torch.save(model.state_dict() | {"harm": Harm()}, folder / "pytorch_model.bin")

    folder = write_folder(tmp_path / "model", "bert", save=save)
    with pytest.raises(InputError, match=r"--teacher .*does not load"):
        load(folder, pair_tasks[1], tmp_path)
    assert not (tmp_path / "harm").exists()


@texts_of_each
def test_tied_weights_are_one_weight(texts: int, pair_tasks: dict[int, Task], tmp_path: Path) -> None:
    """A checkpoint of a language model's backbone with a head: the tied output layer is not in the classifier."""

    def save(model: PreTrainedModel, folder: Path) -> None:
        weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
        weights["lm_head.weight"] = weights["transformer.wte.weight"]
        model.config.save_pretrained(folder)
        torch.save(weights, folder / "pytorch_model.bin")

    folder = write_folder(tmp_path / "model", "gpt2", config={"tie_word_embeddings": True}, save=save)
    teacher = load(folder, pair_tasks[texts], tmp_path)
    plain = wanted(folder, "gpt2", texts)
    np.testing.assert_allclose(teacher.logits(columns(texts), max_length=LENGTH, precision="fp32"), plain, **EXACT)
    assert teacher.parameters == sum(weight.numel() for weight in teacher.model.state_dict().values())


# --- what is saved is read in the same way elsewhere ---


@texts_of_each
@pytest.mark.parametrize("family", ["bert-own", "rembert", "xlnet", "albert", "gpt2"])
def test_a_student_that_was_put_right_is_right_elsewhere(
    family: str, texts: int, family_folder: Callable[[str], Path], pair_tasks: dict[int, Task], tmp_path: Path
) -> None:
    folder, rows = family_folder(family), columns(texts)
    plain = wanted(folder, family, texts)
    model, tokenizer, _ = load_student(pair_tasks[texts], str(folder), None)
    with torch.no_grad():  # a student keeps its body and may get a new head
        model.load_state_dict(AutoModelForSequenceClassification.from_pretrained(folder).state_dict())
    model.save_pretrained(tmp_path / "student")
    tokenizer.save_pretrained(tmp_path / "student")
    student, theirs = (
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").eval(),
        AutoTokenizer.from_pretrained(tmp_path / "student"),
    )
    with torch.inference_mode():
        found = student(**theirs(*rows, padding=True, return_tensors="pt")).logits.numpy()
    np.testing.assert_allclose(found, plain, **EXACT)
    ask = pipeline("text-classification", model=str(tmp_path / "student"), top_k=None, device="cpu")
    asked = [{"text": row[0], "text_pair": row[1]} if texts == 2 else row[0] for row in zip(*rows, strict=True)]
    for batch in (1, 4) if family != "xlnet" else (1,):  # transformers' pipeline cannot split XLNet's memories
        named = [{entry["label"]: entry["score"] for entry in row} for row in ask(asked, batch_size=batch)]
        shown = np.array([[row[label] for label in LABELS] for row in named])
        np.testing.assert_allclose(shown, softmax(plain), **EXACT)
    again = load(tmp_path / "student", pair_tasks[texts], tmp_path)
    np.testing.assert_allclose(again.logits(rows, max_length=LENGTH, precision="fp32"), plain, **EXACT)
    assert again.guards == (), "nothing is left to put right"
