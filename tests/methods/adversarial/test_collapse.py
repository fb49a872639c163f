"""What counts as collapse, and what does not."""

from __future__ import annotations

import pytest
from transformers import (
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

import zskd


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([{"loss": 0.4}, {"loss": float("nan")}], "loss is nan"),
        ([{"grad_norm": float("inf")}], "grad_norm is inf"),
        ([{"adversarial/class_1": 0.995}], "99.5 % of the teacher's answers to fresh rows"),
        ([{"eval_largest_class": 0.7}, {"eval_largest_class": 0.99}], "of the student's answers"),
        ([{"adversarial/divergence": 0.1}, {"adversarial/divergence": 2.5}], "rose from 0.100 to 2.500"),
        ([{"eval_largest_class": 1.0}, {"loss": 0.3, "adversarial/class_0": 0.6}], None),
        ([{"adversarial/divergence": 0.1}, {"adversarial/divergence": 1.5}], None),
        ([{"adversarial/divergence": 0.003}, {"adversarial/divergence": 0.6}], None),
        ([{"adversarial/divergence": 0.003}, {"adversarial/divergence": 1.1}], "rose from 0.003 to 1.100"),
    ],
)
def test_collapse_ends_training_and_says_why(entries: list[dict], reason: str | None) -> None:
    stop, control = zskd.CollapseStop(), TrainerControl()
    for entry in entries:
        stop.on_log(TrainingArguments("x", use_cpu=True), TrainerState(), control, logs=entry)
    assert control.should_training_stop == (reason is not None)
    assert reason is None or reason in str(stop.reason)


def test_a_resumed_run_is_judged_by_what_it_logged_before() -> None:
    before = [{"adversarial/divergence": 0.1, "step": 5}, {"eval_largest_class": 0.7, "step": 5}]
    arguments, state = TrainingArguments("x", use_cpu=True), TrainerState(log_history=before)
    for entry, word in (({"adversarial/divergence": 2.5}, "0.100 to 2.500"), ({"eval_largest_class": 0.99}, "answers")):
        resumed, fresh = zskd.CollapseStop(), zskd.CollapseStop()
        resumed.on_train_begin(arguments, state, TrainerControl())
        fresh.on_train_begin(arguments, TrainerState(), TrainerControl())
        for stop in (resumed, fresh):
            stop.on_log(arguments, TrainerState(), TrainerControl(), logs=entry)
        assert word in str(resumed.reason) and fresh.reason is None
