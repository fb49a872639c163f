"""`--objective` and `--gold-labels` through the walk, and what is said before it starts."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Result, as_flags
from labelled_rows import glue_folder, rows_for, write_rows

from zskd.checks import check
from zskd.config.distillation import DistillConfig
from zskd.pipeline import distill
from zskd.system.files import sha256_file
from zskd.tasks.task import find_task
from zskd.teacher.classifier import Classifier, load_classifier


@pytest.fixture
def topics(config_for: Callable[..., DistillConfig], own_tasks: dict[str, str]) -> Callable[..., DistillConfig]:
    """A distillation of the task with five classes: ``topics(option=value, ...)``."""
    return lambda **changes: config_for(own_tasks["topics"], pool_size=160, checkpoints=1, **changes)


def student(config: DistillConfig) -> str:
    return sha256_file(Path(str(config.output_dir)) / "student" / "model.safetensors")


@pytest.mark.parametrize("name", ["kd-sim", "kd-topk"])
def test_an_objective_reaches_the_student(topics: Callable[..., DistillConfig], tmp_path: Path, name: str) -> None:
    plain, other = (topics(objective=o, output_dir=str(tmp_path / o)) for o in ("kd", name))
    assert distill(plain).metrics["zero_shot"]["enforced"]
    assert distill(other).metrics["zero_shot"]["enforced"]
    assert student(plain) != student(other)


def test_gold_labels_join_the_transfer_set_and_end_zero_shot(
    topics: Callable[..., DistillConfig], tmp_path: Path
) -> None:
    task = find_task(topics().task)
    file = write_rows(tmp_path / "gold.tsv", task, rows_for(task, 40, seed=9))
    plain, gold = topics(output_dir=str(tmp_path / "plain")), topics(gold_labels=str(file))
    without = distill(plain).metrics
    metrics = distill(gold).metrics
    assert not metrics["zero_shot"]["enforced"]
    assert "gold labels (--gold-labels)" in metrics["zero_shot"]["read_before_training"]
    counts = [found["teacher_queries"] + found["teacher_queries_repeated"] for found in (without, metrics)]
    assert counts[1] == counts[0] + 40 == sum(metrics["teacher_queries_for"].values())
    assert student(plain) != student(gold)
    record = json.loads((Path(str(gold.output_dir)) / "record.json").read_text())
    assert record["gold_labels"] == {"rows": 40, "sha256": sha256_file(file)}


def test_objective_of_more_classes_says_what_coincides_and_goes_on(
    tiny_config: DistillConfig, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("zskd").propagate = True
    with caplog.at_level(logging.INFO, "zskd"):
        metrics = distill(
            replace(tiny_config, objective="kd-topk", epochs=0.2, pool_size=128, max_class_share=1.0)
        ).metrics
    assert "with two classes kd-pt, kd-topk and kd are the same; going on with kd-topk" in caplog.text
    assert metrics["steps"] > 0


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"objective": "kd-topk", "top_k": 0}, ("--top-k", "at least 1", "found 0")),
        ({"objective": "kd-topk", "top_k": 3}, ("--top-k 3", "at most the 2 classes")),
        ({"temperature": 0.0}, ("--temperature", "found 0.0")),
        ({"objective": "kd-sim", "similarity_temperature": -1.0}, ("--similarity-temperature", "found -1.0")),
        ({"objective": "kl"}, ("--objective", "'kl'", "kd-pt")),
        ({"gold_labels": "no/such.tsv"}, ("--gold-labels", "no/such.tsv", "found none")),
        ({"gold_weight": 0.9}, ("--gold-weight 0.9", "--gold-labels")),
        ({"objective": "kd-sim", "teacher": "module:ask", "student": "default"}, ("--objective kd-sim", "callable")),
    ],
    ids=str,
)
def test_bad_input_ends_with_code_two_before_anything_is_written(
    tiny_config: DistillConfig, cli: Callable[..., Result], changes: dict, parts: tuple[str, ...]
) -> None:
    result = cli("distill", *as_flags(tiny_config, **changes))
    assert result.code == 2 and len(result.errors) == 1
    assert all(part in result.errors[0] for part in parts)
    assert not Path(str(tiny_config.output_dir)).exists()


def test_rows_that_a_generator_rewrites_lose_their_labels(tiny_config: DistillConfig, tmp_path: Path) -> None:
    task = find_task("sst2")
    folder = glue_folder(tmp_path / "glue", task)
    config = replace(tiny_config, perturb="adversarial", gold_labels=str(task.train_file(folder)))
    (problem,) = check(config)
    assert problem.startswith("--gold-labels") and "generator" in problem


def test_output_weights_are_in_the_tasks_order(teacher: Classifier, teacher_folder: Path, shared_cache: Path) -> None:
    weights = teacher.output_weights()
    assert torch.equal(weights, teacher.model.classifier.weight)
    turned = replace(teacher, order=teacher.order[::-1])
    assert torch.equal(turned.output_weights(), weights.flip(0))
    loaded = load_classifier(find_task("sst2"), str(teacher_folder), shared_cache)
    assert torch.equal(loaded.output_weights(), weights)
