"""One line for each evaluation, with the step and what chooses the checkpoint."""

from __future__ import annotations

import logging

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from zskd.training.log import EvaluationLog


def test_an_evaluation_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    state = TrainerState(global_step=20, max_steps=40)
    metrics = {"eval_loss": 0.12345, "eval_agreement": 0.9}
    with caplog.at_level(logging.INFO, "zskd"):
        EvaluationLog().on_evaluate(TrainingArguments("x", use_cpu=True), state, TrainerControl(), metrics)
    (record,) = caplog.records
    assert record.getMessage() == "step 20 of 40: held-out loss 0.1235, agreement with the teacher 0.9000"
