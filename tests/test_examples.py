"""The programs of examples/, with tiny models."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import fit_teacher, tiny_bert
from labelled_rows import prose, rows_for
from transformers import AutoModelForSequenceClassification

import zskd
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
