"""What is wrong with a model folder, known before a weight is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zskd.models.folder_checks import (
    check_classifier,
    check_length,
    check_local,
    check_positions,
    student_length,
)
from zskd.tasks.task import TASKS

SST2 = TASKS["sst2"]


def save_config(folder: Path, **values: object) -> str:
    labels = {"id2label": {"0": "positive", "1": "negative"}}
    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], **labels, **values}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize(("length", "wrong"), [(None, False), (40, False), (41, True)])
def test_an_input_has_to_fit_the_positions(length: int | None, wrong: bool, tmp_path: Path) -> None:
    name = save_config(tmp_path, max_position_embeddings=40)
    for found in (
        check_local(name, "--student", length),
        check_classifier(SST2, name, None, "--student", length),
        check_positions({"model_type": "bert", "max_position_embeddings": 40}, f"--student {name}", length),
    ):
        assert bool(found) == wrong
        assert not wrong or found == [f"--max-length 41: expected at most the 40 positions of --student {name}"]


def test_a_model_that_says_nothing_of_positions_has_no_limit() -> None:
    assert check_positions({"model_type": "bert"}, "--teacher x", 10**6) == []


def test_labels_of_another_task_are_a_problem_of_a_folder_and_of_no_hub_id(tmp_path: Path) -> None:
    name = save_config(tmp_path, id2label={"0": "x", "1": "y"})
    (problem,) = check_classifier(SST2, name, None, "--teacher")
    assert problem.startswith(f"--teacher {name}")
    assert check_classifier(SST2, name, "x=positive,y=negative", "--teacher") == []
    assert check_classifier(SST2, "someone/model", None, "--teacher") == []
    assert check_classifier(SST2, "default", None, "--teacher") == []


def test_a_folder_without_a_model_is_a_problem(tmp_path: Path) -> None:
    for found in (
        check_local(str(tmp_path), "--student", 8),
        check_classifier(SST2, str(tmp_path), None, "--student"),
        check_classifier(SST2, "embedded", "no map", "--student"),
    ):
        assert len(found) == 1 and "expected" in found[0]


def test_it_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, zskd.models.folder_checks\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_folder_says_of_its_outputs_is_read_first(tmp_path: Path) -> None:
    name = save_config(tmp_path, problem_type="multi_label_classification")
    (problem,) = check_classifier(SST2, name, None, "--teacher")
    assert problem.startswith(f"--teacher {name}: ") and "problem_type 'multi_label_classification'" in problem
    assert check_local(name, "--student", None) == [], "it gets one label"


def test_an_adapter_is_no_whole_model(tmp_path: Path) -> None:
    name = save_config(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert check_classifier(SST2, name, None, "--teacher") == []
    (problem,) = check_local(name, "--student", None)
    assert problem.startswith(f"--student {name}: expected a whole model, found an adapter")


def test_the_tokenizers_limit_counts_where_it_is_lower(tmp_path: Path) -> None:
    name = save_config(tmp_path, max_position_embeddings=40)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 32}), encoding="utf-8")
    for check in (check_local, check_length):
        (problem,) = check(name, "--model", 33)
        assert problem.startswith("--max-length 33: expected at most the 32 tokens") and f"--model {name}" in problem
        assert check(name, "--model", 32) == []
    assert student_length(tmp_path) == 32
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}), encoding="utf-8")
    assert student_length(tmp_path) == 40


def test_a_run_folder_stands_for_its_student_and_an_adapter_for_its_backbone(tmp_path: Path) -> None:
    run, adapter, base = tmp_path / "run", tmp_path / "adapter", tmp_path / "base"
    for folder in (run / "student", adapter, base):
        folder.mkdir(parents=True)
    save_config(run / "student", max_position_embeddings=40)
    save_config(base, max_position_embeddings=40)
    save_config(adapter, max_position_embeddings=512)
    (run / "config.yaml").write_text("task: sst2", encoding="utf-8")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}), encoding="utf-8")
    for folder in (run, run / "student", adapter):
        assert check_length(str(folder), "--model", 41) == [
            f"--max-length 41: expected at most the 40 positions of --model {folder}"
        ]
        assert check_length(str(folder), "--model", None) == check_length(str(folder), "--model", 40) == []


def test_folders_that_do_not_load_are_left_to_the_loader(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    for name in (str(tmp_path), str(tmp_path / "none"), "embedded", "someone/model"):
        assert check_length(name, "--model", 10**6) == []
