"""Trials of a hyperparameter search with Optuna: each is a run of its own for the trackers of ``report_to``.

Trainer itself tells only some trackers that another trial has begun. The others add its steps to the run of the first,
or begin a run without its options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import Trainer
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from zskd.methods.method import Method


def check_search(methods: Sequence[Method]) -> None:
    """Raise ValueError where there are methods: a trial would begin with what the one before has learned."""
    if methods:
        names = ", ".join(method.name or type(method).__name__ for method in methods)
        raise ValueError(
            f"methods: a method keeps what it has learned from one trial to the next; search without {names}, or "
            "make a trainer for each trial"
        )


def trial_name(trial: Any) -> str:
    """What Trainer calls the folder of an Optuna trial's checkpoints."""
    return f"run-{trial.number}"


def begin_trial(trainer: Trainer, trial: Any, run_name: str | None) -> None:
    """Name the trial, and replace the trackers' callbacks, which begin a run when they are first used.

    Args:
        run_name: of the whole search; its trials are called ``run_name-run-0`` and so on.
    """
    if not hasattr(trial, "number"):  # of another search than Optuna's, which starts a process for each trial
        return
    trainer.hp_name = trainer.hp_name or trial_name
    trainer.args.run_name = "-".join(filter(None, (run_name, trainer.hp_name(trial))))
    for name in trainer.args.report_to:
        kind = INTEGRATION_TO_CALLBACK[name]
        if trainer.pop_callback(kind) is not None:
            trainer.add_callback(kind)
