"""What a task decides about a run where nothing is given: tokens of an input, size of the pool, the objective."""

from __future__ import annotations

import dataclasses
from typing import Any

from zskd.config.distillation import DistillConfig
from zskd.config.resolve import Config
from zskd.config.verbs import DiagnoseConfig, EvaluateConfig, FinetuneConfig
from zskd.errors import InputError
from zskd.tasks.task import Task, find_task

POOL_SIZES = {1: 180_000, 2: 90_000}  # by number of input texts; a pair costs more tokens


def input_length(config: DistillConfig | FinetuneConfig | EvaluateConfig | DiagnoseConfig) -> int:
    """Tokens of an input, of a configuration that `with_task_defaults` has filled in."""
    assert config.max_length is not None
    return config.max_length


def _objective(config: DistillConfig, task: Task) -> str:
    """The objective where none is asked for: what was measured to be best (docs/measurements.md), else KD.

    A temperature or gold labels ask for an objective that heeds them.
    """
    if config.teacher_outputs == "labels":
        return "hard-label"
    plain = config.temperature == DistillConfig.temperature and config.gold_labels is None
    measured = config.student == "build" and not task.is_pair and task.num_labels == 2
    return "logit-mse" if measured and plain else "kd"


def with_task_defaults(config: Config) -> Config:
    """The configuration with the task's own values where none was given; unchanged where there is no such task."""
    try:
        task = find_task(config.task or "")
    except InputError:
        return config  # `zskd.checks.check` says what is wrong with it
    defaults: dict[str, Any] = {"max_length": task.max_length, "pool_size": POOL_SIZES[len(task.text_columns)]}
    if isinstance(config, DistillConfig):
        defaults["objective"] = _objective(config, task)
    filled = dataclasses.replace(config)
    for name, value in defaults.items():
        if getattr(config, name, value) is None:
            setattr(filled, name, value)
    return filled
