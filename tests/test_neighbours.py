"""Students in transformers 4, sentence-transformers and optimum: `make test-neighbours`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from families import write_folder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from zskd.models.lengths import save_tokenizer
from zskd.models.loading import Origin, load_weights
from zskd.models.tokenizers import load_tokenizer
from zskd.student.built import build_student
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import classifier_from

pytestmark = pytest.mark.neighbours
ENVIRONMENT = Path("runs/neighbours")
PACKAGES = ("transformers==4.57.6", "sentence-transformers==5.7.0", "optimum-onnx[onnxruntime]==0.1.0")
ONE = [
    ["The old river crosses the royal valley."],
    ["a quiet harbour"],
    ["word"],
    ["In 1874 a painter joins the museum."],
]
TWO = [["a quiet harbour", "the royal valley"], ["a village", "a village"], ["The museum follows.", "a painter"]]


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with the neighbours, and this one's torch version."""
    path = ENVIRONMENT / "bin" / "python"
    if not path.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        pip = [str(path), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"torch=={torch.__version__.partition('+')[0]}"], check=True)
        subprocess.run([*pip, *PACKAGES], check=True)
    return path


@pytest.mark.parametrize(
    ("task", "family", "inputs"),
    [("sst2", "bert", ONE), ("rte", "bert", TWO), ("rte", "mpnet", TWO), ("rte", "roberta", TWO)],
    ids=["one text", "two texts", "segments that MPNet lacks", "segments that RoBERTa lacks"],
)
def test_neighbours_say_what_pytorch_says(
    task: str, family: str, inputs: list[list[str]], python: Path, cli, tmp_path: Path
) -> None:
    folder = str(write_folder(tmp_path / "teacher", family))
    model, tokenizer = load_weights(Origin(folder), flag="--teacher"), load_tokenizer(Origin(folder), flag="--teacher")
    names = dict(zip(("no", "yes"), TASKS[task].labels, strict=True))
    teacher = classifier_from(TASKS[task], model, tokenizer, name="teacher", label_map=names)
    torch.manual_seed(0)
    student, own, _ = build_student(TASKS[task], teacher, 1.5, "fp32", tmp_path / "cache")
    student.save_pretrained(tmp_path / "student")
    save_tokenizer(own, student.config, tmp_path / "student")
    done = cli("export", tmp_path / "student", "--task", task, "--output-dir", tmp_path / "export")
    assert done.code == 0, done.err
    program = Path(__file__).with_name("neighbour_programs.py")
    ran = subprocess.run(
        [python, program, tmp_path / "student", tmp_path / "export", json.dumps(inputs)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["version"].startswith("4.57.")
    columns = tuple(list(column) for column in zip(*inputs, strict=True))
    batch = AutoTokenizer.from_pretrained(tmp_path / "student")(*columns, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").eval()(**batch).logits
    expected = expected.softmax(dim=-1).numpy()
    assert set(found["said"]) == {"transformers", "optimum"} | (
        {"sentence-transformers"} if len(inputs[0]) == 2 else set()
    )
    for package, said in found["said"].items():
        np.testing.assert_allclose(np.array(said), expected, atol=2e-5, err_msg=package)
