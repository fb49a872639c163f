"""What each verb finds wrong with its options before anything loads (`distill` in depth: tests/test_checks.py)."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from zskd.checks import check
from zskd.cli import diagnose, evaluate, finetune, predict
from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag
from zskd.config.verbs import DiagnoseConfig, EvaluateConfig, FinetuneConfig, PredictConfig

PROBLEMS: dict[type, Any] = {
    DistillConfig: check,
    FinetuneConfig: finetune.problems,
    EvaluateConfig: evaluate.problems,
    DiagnoseConfig: diagnose.problems,
    PredictConfig: predict.problems,
}
LIMITS = [
    (cls, item.name, item.metadata[limit], direction)
    for cls in PROBLEMS
    for item in fields(cls)
    for limit, direction in (("low", -1), ("high", 1))
    if limit in item.metadata
]


def only(problems: list[str], *parts: object) -> None:
    """There is one problem, and it says all of `parts`."""
    assert len(problems) == 1, problems
    for part in parts:
        assert str(part) in problems[0]


@pytest.mark.parametrize(
    ("cls", "name", "limit", "direction"), LIMITS, ids=[f"{c.__name__}-{n}-{d}" for c, n, _, d in LIMITS]
)
def test_number_out_of_range_is_named(cls: type, name: str, limit: float, direction: int) -> None:
    value = limit + direction * (1 if isinstance(limit, int) else 0.5)
    expected = f"{flag(name)}: expected at {'least' if direction < 0 else 'most'} {limit}, found {value}"
    assert expected in PROBLEMS[cls](cls(task="sst2", **{name: value}))
    assert not any(p.startswith(f"{flag(name)}:") for p in PROBLEMS[cls](cls(task="sst2", **{name: limit})))


@pytest.mark.parametrize("cls", [cls for cls in PROBLEMS if cls is not PredictConfig])
def test_missing_and_unknown_task_name_the_known_ones(cls: type) -> None:
    assert any(p.startswith("--task: expected one of sst2, mnli") for p in PROBLEMS[cls](cls()))
    assert any("'sst-2'; did you mean 'sst2'?" in p for p in PROBLEMS[cls](cls(task="sst-2")))


def test_finetune_problems_name_their_flags(glue_dir: Path, own_tasks: dict[str, str], tmp_path: Path) -> None:
    config = FinetuneConfig(task="sst2", glue_dir=str(glue_dir), output_dir=str(tmp_path / "new"))
    assert finetune.problems(config) == []
    assert finetune.problems(replace(config, glue_dir=None)) == [], "the rows come from the Hub"
    only(finetune.problems(replace(config, task=own_tasks["answers"], glue_dir=None)), "--glue-dir", "train.tsv")
    (glue_dir / "SST-2" / "train.tsv").unlink()
    only(finetune.problems(config), "--glue-dir", "train.tsv")
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    for taken in (file, glue_dir):
        assert any(
            "--output-dir" in p and str(taken) in p for p in finetune.problems(replace(config, output_dir=str(taken)))
        )


def test_adapter_to_start_from_is_checked(glue_dir: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(task="sst2", glue_dir=str(glue_dir), output_dir=str(tmp_path / "new"))
    adapter = tmp_path / "adapter"
    only(finetune.problems(replace(config, adapter=str(adapter))), "--adapter", adapter, "adapter_config.json")
    adapter.mkdir()
    only(finetune.problems(replace(config, adapter=str(adapter))), "--adapter", adapter, "adapter_config.json")
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    assert finetune.problems(replace(config, adapter=str(adapter))) == []
    only(finetune.problems(replace(config, adapter=str(adapter), full=True)), "--adapter", "--full")


def test_evaluate_problems_name_their_flags(own_tasks: dict[str, str]) -> None:
    problems = evaluate.problems(EvaluateConfig(task="sst2"))
    assert [p.partition(":")[0] for p in problems] == ["--model", "--data"]
    assert any(
        "--data" in p and "/no.tsv" in p
        for p in evaluate.problems(EvaluateConfig(task="rte", model="x", data="/no.tsv"))
    )
    topics, answers = (EvaluateConfig(task=own_tasks[name], model="x", data="probe") for name in ("topics", "answers"))
    assert evaluate.problems(topics) == [], "its file names a probe"
    only(evaluate.problems(answers), "--data probe", "answers")


def test_only_a_callable_answers_with_other_than_logits(teacher_folder: Path, corpus_file: Path) -> None:
    for cls, options in ((EvaluateConfig, {"data": "probe"}), (DiagnoseConfig, {"corpus": [str(corpus_file)]})):
        config = cls(task="sst2", model=str(teacher_folder), **options)
        assert PROBLEMS[cls](config) == []
        only(PROBLEMS[cls](replace(config, teacher_outputs="labels")), "--teacher-outputs labels", "with weights")
        assert PROBLEMS[cls](replace(config, model="module:ask", teacher_outputs="labels")) == []
