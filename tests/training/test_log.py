"""One line for each evaluation, with the step and what chooses the checkpoint."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from zskd.training.log import EvaluationLog, FiniteLoss, _clock


def test_an_evaluation_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    state = TrainerState(global_step=20, max_steps=40)
    metrics = {"eval_loss": 0.12345, "eval_agreement": 0.9}
    with caplog.at_level(logging.INFO, "zskd"):
        EvaluationLog().on_evaluate(TrainingArguments("x", use_cpu=True), state, TrainerControl(), metrics)
    (record,) = caplog.records
    assert record.getMessage() == "step 20 of 40: held-out loss 0.1235, agreement with the teacher 0.9000"


def test_a_training_says_when_it_will_end(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("zskd.training.log.time.monotonic", lambda: clock[0])
    log = EvaluationLog(lambda metrics: f"accuracy {metrics['accuracy']}")
    log.before = 3_600.0  # in an earlier call, up to the checkpoint of step 100
    arguments, control = TrainingArguments("x", use_cpu=True), TrainerControl()
    state = TrainerState(global_step=100, max_steps=1_000)
    with caplog.at_level(logging.INFO, "zskd"):
        log.on_train_begin(arguments, state, control)
        for state.global_step in range(101, 1_001):
            clock[0] += 10.0
            control.should_evaluate = state.global_step in (400, 800, 1_000)
            log.on_step_end(arguments, state, control)
            if control.should_evaluate:
                log.on_evaluate(arguments, state, control, {"accuracy": 0.9})
    found = [record.getMessage() for record in caplog.records]
    assert [int(line.split()[1]) for line in found] == [103, 106, 112, 124, 148, 196, 292, 400, 700, 800, 1_000]
    assert found[0].startswith("step 103 of 1000: 60 min so far, about 2 h 30 min left (until ")
    assert found[7].startswith("step 400 of 1000: accuracy 0.9; 110 min so far, about 100 min left (until ")
    assert found[-1] == "step 1000 of 1000: accuracy 0.9; 3 h 30 min so far"


def test_the_end_is_a_time_of_the_clock() -> None:
    now = datetime(2030, 1, 31, 22, 50, tzinfo=UTC)
    assert [_clock(left, now) for left in (119.0, 600.0, 5_400.0)] == [
        "",
        " (until 23:00)",
        " (until 2030-02-01 00:20)",
    ]


@pytest.mark.parametrize("where", ["log", "evaluation"])
def test_a_loss_that_is_no_number_ends_training_and_is_not_saved(where: str) -> None:
    arguments, state, control = TrainingArguments("x", use_cpu=True), TrainerState(global_step=20), TrainerControl()
    watcher = FiniteLoss()
    for loss in (0.5, 1e30, math.nan, 0.5):
        control = TrainerControl(should_save=True)
        if where == "log":
            watcher.on_log(arguments, state, control, {"loss": loss, "grad_norm": math.inf})
        else:
            watcher.on_evaluate(arguments, state, control, {"eval_loss": loss})
        state.global_step += 1
        assert control.should_training_stop is (watcher.step is not None) is not control.should_save
    assert watcher.step == 22, "the first; infinite norms are skipped by float16's scaler and are no fault"
