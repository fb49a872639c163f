"""Defaults that depend on the task: maximum length, sizes of the pools, objective and optimizer."""

from __future__ import annotations

import dataclasses
from math import ceil
from typing import Any

from zskd.config.distillation import DistillConfig
from zskd.config.limits import MOST_EPOCHS
from zskd.config.pretraining import PretrainConfig
from zskd.config.resolve import Config
from zskd.config.verbs import DiagnoseConfig, EvaluateConfig, FinetuneConfig, PredictConfig
from zskd.errors import InputError
from zskd.tasks.task import Task, find_task

POOL_SIZES = {1: 180_000, 2: 90_000}  # by number of input texts; pairs have more tokens
SMALLEST_POOL = 1_000  # of a share of the text
EPOCHS = 2.0
FEWEST_STEPS = 600  # of a student of few queries
HELD_OUT = 4_000
# Of a budget of teacher queries.
HELD_OUT_SHARE = 0.1
LEAST_HELD_OUT = 200


def input_length(config: DistillConfig | FinetuneConfig | DiagnoseConfig) -> int:
    """Maximum length of an input in tokens, from a configuration that `with_task_defaults` has filled in."""
    assert config.max_length is not None
    return config.max_length


def _objective(config: DistillConfig, task: Task) -> str:
    """The default objective: the one that was measured to be best (docs/measurements.md), else ``kd``.

    If a temperature or gold labels are given, it is one that uses them.
    """
    if config.teacher_outputs == "labels":
        return "hard-label"
    plain = config.temperature == DistillConfig.temperature and config.gold_labels is None
    measured = config.student == "build" and not task.is_pair and task.num_labels == 2
    return "logit-mse" if measured and plain else "kd"


def _epochs(config: DistillConfig, size: int, heldout: int) -> float:
    """Passes over the inputs, so many that a student of few queries has about `FEWEST_STEPS` updates too."""
    if config.query_budget is None:
        return EPOCHS
    rows = max(1, min(config.query_budget - heldout, config.pool_size or size))
    wanted = ceil(FEWEST_STEPS * config.batch_size * config.gradient_accumulation / rows)
    return min(max(EPOCHS, float(wanted)), MOST_EPOCHS)


def with_task_defaults(config: Config) -> Config:
    """Fill in the task's values for options that were not given. Without a known task, nothing changes.

    `zskd evaluate` and `zskd predict` keep a length that was not given open, because it is the model's own.
    """
    if isinstance(config, PretrainConfig):
        return config  # knows no task
    try:
        task = find_task(config.task or "")
    except InputError:
        return config  # `zskd.checks.check` reports the problem
    # As many inputs from each document, so that a share of the text makes a run as much smaller.
    fraction = getattr(config, "corpus_fraction", 1.0)
    # The limits of options are checked later.
    size = round(POOL_SIZES[len(task.text_columns)] * (fraction if 0 < fraction < 1 else 1.0))
    defaults: dict[str, Any] = {"max_length": task.max_length, "pool_size": max(SMALLEST_POOL, size)}
    if isinstance(config, EvaluateConfig | PredictConfig):
        del defaults["max_length"]
    if isinstance(config, DistillConfig):
        defaults["objective"] = _objective(config, task)
        budget = config.query_budget
        heldout = HELD_OUT if budget is None else max(LEAST_HELD_OUT, round(HELD_OUT_SHARE * budget))
        defaults["heldout"] = heldout
        defaults["epochs"] = _epochs(config, size, config.heldout or heldout)
        defaults["optimizer"] = "muon" if config.student == "build" else "adamw"
    filled = dataclasses.replace(config)
    for name, value in defaults.items():
        if getattr(config, name, value) is None:
            setattr(filled, name, value)
    return filled
