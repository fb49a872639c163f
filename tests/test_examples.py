"""The programs of examples/, with tiny models."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import fit_teacher, save_model, tiny_bert, word_tokenizer
from labelled_rows import prose, rows_for
from transformers import AutoModelForSequenceClassification

import zskd
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier

FOLDER = Path(__file__).parent.parent / "examples"
PROGRAMS = sorted(path.name for path in FOLDER.glob("*.py"))
# A small run: these are options that a user could give as well.
SMALL: dict[str, Any] = {"pool_size": 320, "heldout": 32, "batch_size": 32, "epochs": 1.0, "checkpoints": 1}


@pytest.fixture
def example(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """What a program defines, with an empty folder to work in and one file of text, ``my-text.txt``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSKD_CACHE", str(shared_cache))
    Path("my-text.txt").write_text("\n".join(prose(150)) + "\n", encoding="utf-8")
    return lambda name: runpy.run_path(str(FOLDER / name))


@pytest.fixture
def student(teacher: Classifier, example: object) -> str:
    """A student with the teacher's vocabulary."""
    tiny_bert(len(teacher.tokenizer), ("negative", "positive"), hidden=16, seed=4).save_pretrained("my-small-model")
    return "my-small-model"


def test_the_readme_names_every_program_and_each_says_how_it_is_called() -> None:
    listed = re.findall(r"^\| \[(\w+\.py)\]", (FOLDER / "README.md").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == PROGRAMS
    for name in PROGRAMS:
        assert f"\npython examples/{name} " in (FOLDER / name).read_text(encoding="utf-8")
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f'example("{name}")' in tested for name in PROGRAMS)


def test_own_teacher(example: Callable, teacher_folder: Path, tmp_path: Path, capsys: Any) -> None:
    program = example("own_teacher.py")
    result = program["main"](
        str(teacher_folder), "my-text.txt", "negative", "positive", run_dir=tmp_path / "run", compression=2.0, **SMALL
    )
    saved = AutoModelForSequenceClassification.from_pretrained("my-student")
    assert all(map(torch.equal, saved.state_dict().values(), result.student.state_dict().values()))
    assert f"held-out text: {result.metrics['agreement']:.3f}" in capsys.readouterr().out


def test_two_texts(example: Callable, tmp_path: Path) -> None:
    program = example("two_texts.py")
    task = program["TASK"]
    folder = fit_teacher(tmp_path / "teacher", task, rows_for(task, 40), steps=3)
    options = {"run_dir": tmp_path / "run", "compression": 2.0, "max_class_share": 1.0, **SMALL}
    answer = program["main"](str(folder), "my-text.txt", **options)
    assert answer in task.labels


def test_black_box(example: Callable, student_folder: Path, tmp_path: Path, capsys: Any) -> None:
    program = example("black_box.py")
    assert program["ask"](["It never works", "a fine day"]) == ["complaint", "other"]
    options = {"run_dir": tmp_path / "run", "cache_dir": str(tmp_path), "max_class_share": 1.0, **SMALL}
    result = program["main"]("my-text.txt", str(student_folder), **options)
    assert result.metrics["teacher_queries_live"] > 320 and "the service was asked" in capsys.readouterr().out


def test_german(example: Callable, tmp_path: Path, capsys: Any) -> None:
    program = example("german.py")
    folder, run = tmp_path / "student", tmp_path / "run"
    result = program["main"](str(folder), run_dir=run)
    corpus = json.loads((run / "record.json").read_text(encoding="utf-8"))["corpus"]
    assert corpus["sentences"] == 210 and corpus["dropped"] == {} and corpus["language"] == "de"
    assert result.metrics["agreement"] > 0.5 and "a sentence is judged" in capsys.readouterr().out
    student = AutoModelForSequenceClassification.from_pretrained(folder)
    assert student.config.id2label == {0: "schlecht", 1: "gut"}
    # The same text, its language found out: the same inputs, and so the same student.
    again = program["main"](str(folder), run_dir=tmp_path / "again", language="auto")
    assert all(map(torch.equal, again.student.state_dict().values(), result.student.state_dict().values()))


def test_trainer(example: Callable, teacher_folder: Path, student: str) -> None:
    trainer = example("trainer.py")["main"](str(teacher_folder), student, "my-text.txt", steps=6)
    assert trainer.state.global_step == 6 and trainer.seam.methods[0].queries > 0
    assert Path("my-student/model.safetensors").is_file()


def test_own_method(example: Callable, teacher_folder: Path, student: str) -> None:
    program = example("own_method.py")
    trainer = program["main"](str(teacher_folder), student, "my-text.txt", steps=3)
    assert trainer.state.global_step == 3 and trainer.seam.methods[0].name == "token-dropout"
    # What is hidden: only ordinary tokens, about the share asked for, the same however a batch is split.
    method = program["TokenDropout"](SimpleNamespace(mask_token_id=4, all_special_ids=[0, 2, 3]), share=0.25)
    ids = torch.tensor([[2, *range(10, 50), 3, 0, 0]] * 8)
    step = zskd.Step(number=3, total=9, seed=1, places=np.arange(8))
    whole = method.batch({"input_ids": ids}, step)["input_ids"]
    hidden = whole != ids
    assert (whole[hidden] == 4).all() and 0.15 < hidden.float().mean() < 0.35
    assert not hidden[:, [0, -1, -2, -3]].any() and not torch.equal(hidden[0], hidden[1])
    second = zskd.Step(number=3, total=9, seed=1, places=np.arange(4, 8), micro=1, micros=2)
    assert torch.equal(method.batch({"input_ids": ids[4:, :-1]}, second)["input_ids"], whole[4:, :-1])


@pytest.mark.parametrize("task", ["sst2", "mrpc"], ids=["one text", "two texts"])
def test_onnx_only(example: Callable, cli: Any, task: str, tmp_path: Path, capsys: Any) -> None:
    tokenizer = word_tokenizer(prose(60))
    model = tiny_bert(len(tokenizer), TASKS[task].labels)
    with torch.no_grad():
        model.classifier.weight.mul_(50)
    folder = save_model(tmp_path / "model", model, tokenizer)
    assert cli("export", folder, "--task", task, "--quantize", "int8", "--output-dir", tmp_path / "export").code == 0
    columns = (prose(40, 1), prose(40, 2))[: len(TASKS[task].text_columns)]
    lines = ["\t".join(row) for row in zip(*columns, strict=True)]
    Path("lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    program = example("onnx_only.py")
    with torch.inference_mode():
        expected = model(**tokenizer(*columns, padding=True, return_tensors="pt")).logits.softmax(dim=-1).numpy()
    student = program["Student"](tmp_path / "export")
    found = student(list(zip(*columns, strict=True)) if len(columns) == 2 else columns[0])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    capsys.readouterr()
    program["main"](str(tmp_path / "export"), "lines.txt")
    answered = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [label for label, _ in answered] == [TASKS[task].labels[row.argmax()] for row in expected]
    int8 = program["Student"](tmp_path / "export", int8=True)
    assert list(program["answers"](int8, lines, 1)) and int8.labels == list(TASKS[task].labels)


def test_onnx_only_needs_no_torch_and_answers_lines_as_they_come(
    cli: Any, finished_run: Path, tmp_path: Path, example: object
) -> None:
    assert cli("export", finished_run, "--output-dir", tmp_path / "export").code == 0
    block = "import sys; sys.modules.update(dict.fromkeys(['torch', 'transformers', 'zskd']))"
    Path("sitecustomize.py").write_text(block, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / "onnx_only.py"), str(tmp_path / "export")],
        env={**os.environ, "PYTHONPATH": "."}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    for line in prose(3):
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        label, score = process.stdout.readline().split("\t")  # before the next line is written
        assert label in TASKS["sst2"].labels and 0.5 <= float(score) <= 1
    process.stdin.close()
    assert process.wait(60) == 0
