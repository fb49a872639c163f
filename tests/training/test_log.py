"""One line for each evaluation, with the step and what chooses the checkpoint."""

from __future__ import annotations

import logging
import math

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from zskd.training.log import EvaluationLog, FiniteLoss


def test_an_evaluation_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    state = TrainerState(global_step=20, max_steps=40)
    metrics = {"eval_loss": 0.12345, "eval_agreement": 0.9}
    with caplog.at_level(logging.INFO, "zskd"):
        EvaluationLog().on_evaluate(TrainingArguments("x", use_cpu=True), state, TrainerControl(), metrics)
    (record,) = caplog.records
    assert record.getMessage() == "step 20 of 40: held-out loss 0.1235, agreement with the teacher 0.9000"


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
