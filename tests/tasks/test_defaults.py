"""What a task decides where nothing is given."""

from __future__ import annotations

import math

import pytest

from zskd.config.distillation import DistillConfig
from zskd.config.verbs import DiagnoseConfig, EvaluateConfig, FinetuneConfig, PredictConfig
from zskd.tasks.defaults import input_length, with_task_defaults

# What a task decides where nothing is given: tokens, and inputs in the pool.
FROM_TASK = {"sst2": (64, 180_000), "mnli": (96, 90_000), "qnli": (128, 90_000), "topics": (32, 180_000)}


@pytest.mark.parametrize("name", FROM_TASK)
def test_defaults_come_from_the_task_unless_given(own_tasks: dict[str, str], name: str) -> None:
    task = own_tasks.get(name, name)
    given = DistillConfig(task=task)
    found = with_task_defaults(given)
    assert (found.max_length, found.pool_size) == FROM_TASK[name] and input_length(found) == FROM_TASK[name][0]
    assert given == DistillConfig(task=task), "what was given is not changed"
    assert with_task_defaults(found) == found
    found = with_task_defaults(DistillConfig(task=task, max_length=40, pool_size=999))
    assert (found.max_length, found.pool_size) == (40, 999)
    for cls in (FinetuneConfig, DiagnoseConfig):
        assert with_task_defaults(cls(task=task)).max_length == FROM_TASK[name][0]
    for cls in (EvaluateConfig, PredictConfig):
        assert with_task_defaults(cls(task=task)).max_length is None, "the model's own length, not a training's"


@pytest.mark.parametrize(
    "task, fraction, size",
    [
        ("sst2", 0.05, 9_000),
        ("mnli", 0.05, 4_500),
        ("sst2", 0.0001, 1_000),
        *(("sst2", wrong, 180_000) for wrong in (math.nan, math.inf, -1.0, 2.0)),  # refused elsewhere
    ],
)
def test_a_share_of_the_text_makes_a_smaller_pool(task: str, fraction: float, size: int) -> None:
    given = DistillConfig(task=task, corpus_fraction=fraction)
    assert with_task_defaults(given).pool_size == size
    assert with_task_defaults(DistillConfig(task=task, corpus_fraction=fraction, pool_size=700)).pool_size == 700


@pytest.mark.parametrize(
    "options, objective",
    [
        ({"task": "sst2"}, "logit-mse"),
        ({"task": "sst2", "teacher_outputs": "labels"}, "hard-label"),
        ({"task": "mnli", "teacher_outputs": "labels", "student": "default"}, "hard-label"),
        ({"task": "sst2", "teacher_outputs": "labels", "objective": "kd"}, "kd"),
        ({"task": "sst2", "teacher_outputs": "probabilities"}, "logit-mse"),
        ({"task": "mrpc"}, "kd"),
        ({"task": "topics"}, "kd"),  # more than two classes
        ({"task": "sst2", "objective": "kd"}, "kd"),
        ({"task": "mnli", "objective": "kd-pt"}, "kd-pt"),
        ({"task": "sst2", "temperature": 2.0}, "kd"),  # logits are matched without one
        ({"task": "sst2", "gold_labels": "rows.tsv"}, "kd"),
        ({"task": "sst2", "student": "someone/student"}, "kd"),
    ],
)
def test_the_objective_is_the_one_that_was_measured_unless_given(
    own_tasks: dict[str, str], options: dict[str, object], objective: str
) -> None:
    options["task"] = own_tasks.get(str(options["task"]), options["task"])
    found = with_task_defaults(DistillConfig(**options))
    assert found.objective == objective == with_task_defaults(found).objective


@pytest.mark.parametrize(
    "options, optimizer",
    [
        ({"task": "mnli"}, "muon"),
        ({"task": "mnli", "optimizer": "adamw"}, "adamw"),
        ({"task": "mnli", "student": "someone/student"}, "adamw"),
        ({"task": "sst2"}, "muon"),
        ({"task": "sst2", "student": "someone/student", "optimizer": "muon"}, "muon"),
    ],
)
def test_muon_trains_built_students_unless_told_otherwise(options: dict[str, str], optimizer: str) -> None:
    assert with_task_defaults(DistillConfig(**options)).optimizer == optimizer


def test_a_task_that_is_none_fills_in_nothing() -> None:
    config = DistillConfig(task="sst-2")
    assert with_task_defaults(config) == config and config.max_length is None
