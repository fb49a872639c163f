"""Trainer's arguments: the objective's limits hold, and nothing but a finished model is pushed."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from pathlib import Path

import pytest

from zskd import ZeroShotArguments
from zskd.config.distillation import DistillConfig, optimizer_steps
from zskd.config.objective_options import ObjectiveOptions
from zskd.training.arguments import BUILT_LEARNING_RATE, PRETRAINED_LEARNING_RATE, learning_rate, training_arguments


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"temperature": 0.0}, "temperature: expected at least 0.01, found 0.0"),
        ({"objective": "kdd"}, "objective: expected one of kd, "),
        ({"smoothing": 1.5, "top_k": 0}, "top_k: expected at least 1, found 0; smoothing: expected at most 1.0"),
    ],
)
def test_an_option_beyond_its_limits_is_refused_by_its_name(values: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        ZeroShotArguments(str(tmp_path), use_cpu=True, **values)


def test_options_of_the_objective_have_their_defaults_and_reach_it(tmp_path: Path) -> None:
    made = ZeroShotArguments(str(tmp_path), use_cpu=True, temperature=3.0)
    for item in fields(ObjectiveOptions):
        assert getattr(made, item.name) == (3.0 if item.name == "temperature" else item.default)
    assert made.label_names == ["teacher_logits"] and made.remove_unused_columns is False
    assert copy.deepcopy(made).to_dict() == made.to_dict()


@pytest.mark.parametrize("private", [None, True, False])
def test_a_repository_is_private_unless_somebody_says_otherwise(private: bool | None, tmp_path: Path) -> None:
    made = ZeroShotArguments(str(tmp_path), use_cpu=True, push_to_hub=True, hub_private_repo=private)
    assert made.hub_private_repo is (private is not False) and made.hub_strategy == "end"


@pytest.mark.parametrize("strategy", ["checkpoint", "all_checkpoints"])
def test_checkpoints_are_not_pushed(strategy: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"hub_strategy: expected 'end', found '{strategy}'"):
        ZeroShotArguments(str(tmp_path), use_cpu=True, push_to_hub=True, hub_strategy=strategy)
    assert ZeroShotArguments(str(tmp_path), use_cpu=True, hub_strategy=strategy).hub_strategy == "end"


@pytest.mark.parametrize(
    ("student", "asked", "rate"),
    [
        ("build", None, BUILT_LEARNING_RATE),
        ("a/b", None, PRETRAINED_LEARNING_RATE),
        ("build", 0.5, 0.5),
        ("a/b", 0.0, 0.0),
    ],
)
def test_a_student_that_starts_at_random_takes_larger_steps(student: str, asked: float | None, rate: float) -> None:
    assert learning_rate(DistillConfig(student=student, learning_rate=asked)) == rate


@pytest.mark.parametrize(("epochs", "accumulation", "rows"), [(2.0, 1, 640), (1.0, 4, 640), (0.5, 1, 641)])
def test_updates_follow_the_rows_and_checkpoints_are_evenly_spaced(
    tiny_config: DistillConfig, epochs: float, accumulation: int, rows: int, tmp_path: Path
) -> None:
    config = replace(tiny_config, epochs=epochs, gradient_accumulation=accumulation, objective="kd")
    made = training_arguments(config, tmp_path, rows)
    assert made.max_steps == optimizer_steps(config, rows)
    assert abs(made.max_steps - epochs * rows / (32 * accumulation)) < 1
    assert made.save_steps == made.eval_steps == max(1, made.max_steps // config.checkpoints)
    assert made.metric_for_best_model == "loss" and made.greater_is_better is False


def test_every_option_of_training_reaches_trainer(tiny_config: DistillConfig, tmp_path: Path) -> None:
    config = replace(
        tiny_config, objective="kd-topk", top_k=2, temperature=4.0, learning_rate=0.03, warmup=0.2, weight_decay=0.3,
        seed=11, logging_steps=7, student_precision="bf16", batch_size=16, optimizer="muon",
    )  # fmt: skip
    made = training_arguments(config, tmp_path, 640)
    assert (made.objective, made.top_k, made.temperature, made.learning_rate) == ("kd-topk", 2, 4.0, 0.03)
    assert (made.warmup_steps, made.weight_decay, made.seed, made.logging_steps) == (0.2, 0.3, 11, 7)
    assert made.optimizer == "muon" and training_arguments(tiny_config, tmp_path, 640).optimizer == "adamw"
    assert made.bf16 and made.per_device_train_batch_size == 16 and made.output_dir == str(tmp_path)
