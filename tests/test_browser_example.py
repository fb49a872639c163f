"""The page of examples/browser in Node and in headless Chromium: `make test-browser`.

Needs Node, npm and Chromium. The example's packages are installed where the example is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from transformers import AutoModelForSequenceClassification, AutoTokenizer

sys.path.insert(0, str(Path(__file__).parent / "report"))
from chromium import find_chromium

from zskd.inference.export import INT8, onnx_answers
from zskd.inference.saved import load_saved
from zskd.models.lengths import save_tokenizer
from zskd.student.built import build_student
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier, load_classifier

pytestmark = pytest.mark.browser
EXAMPLE = Path(__file__).parent.parent / "examples" / "browser"
ONE = [["The river crosses the valley."], ["a quiet harbour , long but never dull"], ["word"], ["Ünïcode … 12 %"]]
TWO = [["a quiet harbour", "the royal valley"], ["a village", "a village"], ["Who built it?", "It was built in 1874."]]


@pytest.fixture(scope="module")
def packages() -> Path:
    """The example's packages."""
    if (npm := shutil.which("npm")) is None:
        pytest.fail("no npm found; on Debian and Ubuntu: apt-get install npm")
    subprocess.run([npm, "install", "--no-audit", "--no-fund"], cwd=EXAMPLE, check=True)
    return EXAMPLE / "node_modules"


@pytest.fixture
def answers(packages: Path, tmp_path: Path, cli: Any) -> Any:
    """Exports a student into a copy of the example and classifies inputs there."""

    def answers(student: Path, task: str, inputs: list[list[str]], picture: Path) -> dict[str, Any]:
        place = tmp_path / "browser"
        shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns("node_modules", "student"))
        (place / "node_modules").symlink_to(packages)
        done = cli("export", student, "--task", task, "--quantize", "int8", "--output-dir", place / "student")
        assert done.code == 0, done.err
        chromium = find_chromium()
        assert chromium is not None, "no Chromium found; on Debian and Ubuntu: apt-get install chromium"
        ran = subprocess.run(
            ["node", "test.mjs", json.dumps(inputs), str(picture)],
            cwd=place,
            env={**os.environ, "CHROMIUM": chromium},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert ran.returncode == 0, ran.stderr
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

    return answers


def random_student(teacher: Classifier, task: str, columns: tuple[list[str], ...], folder: Path) -> Path:
    """A student that is built from the teacher, with a head whose answers to the inputs differ."""
    torch.manual_seed(0)
    student, tokenizer, _ = build_student(TASKS[task], teacher, 1.5, "fp32", folder / "cache")
    head = getattr(student.classifier, "out_proj", student.classifier)
    with torch.no_grad():
        logits = student(**tokenizer(*columns, padding=True, return_tensors="pt")).logits
        deviation, mean = torch.std_mean(logits, dim=0)
        head.weight /= deviation[:, None]
        head.bias.sub_(mean).div_(deviation)
    student.config.update({"zskd_texts": len(TASKS[task].text_columns)})
    student.save_pretrained(folder / "student")
    save_tokenizer(tokenizer, student.config, folder / "student")
    return folder / "student"


def probabilities(found: list[list[dict[str, Any]]], labels: tuple[str, ...]) -> np.ndarray:
    """Answers as an array ``(inputs, labels)``; they come with the most probable class first."""
    assert all(row == sorted(row, key=lambda entry: -entry["score"]) for row in found)
    return np.array([[{e["label"]: e["score"] for e in row}[label] for label in labels] for row in found])


@pytest.mark.parametrize(("task", "inputs"), [("sst2", ONE), ("mrpc", TWO)], ids=["one text", "two texts"])
def test_node_and_browser_say_what_pytorch_says(
    task: str, inputs: list[list[str]], answers: Any, teacher_for: Any, shared_cache: Path, tmp_path: Path
) -> None:
    teacher = load_classifier(TASKS[task], str(teacher_for(task)), shared_cache)
    labels, columns = TASKS[task].labels, tuple(list(column) for column in zip(*inputs, strict=True))
    student = random_student(teacher, task, columns, tmp_path)
    found = answers(student, task, inputs, tmp_path / "page.png")
    model = AutoModelForSequenceClassification.from_pretrained(student).eval()
    batch = AutoTokenizer.from_pretrained(student)(*columns, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**batch).logits.softmax(dim=-1).numpy()
    assert expected.std(axis=0).max() > 0.1  # the inputs are told apart
    np.testing.assert_allclose(probabilities(found["node"]["fp32"], labels), expected, atol=1e-4)
    # How close the int8 model is to PyTorch is for `zskd export` to measure; here it has to be the same in JavaScript.
    int8, saved = probabilities(found["node"]["q8"], labels), load_saved(str(student), flag="RUN", task_name=task)
    again = onnx_answers(tmp_path / "browser" / "student" / INT8, saved.classifier.require_weights("").tokenizer, 512)
    # Alone, because activations are scaled by the largest one of a batch.
    alone = np.concatenate([softmax(again(tuple([text] for text in texts)), axis=1) for texts in inputs])
    np.testing.assert_allclose(int8, alone, atol=0.01)
    # The page answers with the int8 model; for the second half of the inputs the network was switched off.
    np.testing.assert_allclose(probabilities(found["browser"]["answers"], labels), int8, atol=0.01)
    assert found["browser"]["elsewhere"] == []  # nothing was asked of another host
    assert (tmp_path / "page.png").stat().st_size > 1_000
