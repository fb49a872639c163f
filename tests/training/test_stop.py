"""Where a training ends after a signal: several processes agree on a step, and nothing useless is saved."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from zskd.system import interrupts
from zskd.training import stop


def test_processes_agree_on_a_step_that_none_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end_of_step(step: int, came: int | None) -> int | None:
        monkeypatch.setattr(interrupts, "came", lambda: came)
        return stop._agreed(tmp_path, step)

    assert end_of_step(6, None) is None
    assert end_of_step(7, signal.SIGTERM) is None, "the first process to see it: another may be at the end of step 7"
    monkeypatch.setattr(os, "getpid", lambda: 1)  # the other process, which has it later or not at all
    assert end_of_step(7, signal.SIGTERM) is None
    assert end_of_step(8, None) == end_of_step(8, signal.SIGINT) == signal.SIGTERM


@pytest.mark.parametrize("weight", [1.0, float("nan")])
def test_weights_that_are_no_numbers_are_not_saved(
    weight: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.weight, weight)
    callback, control, state = stop.StopAtSignal(), TrainerControl(), TrainerState(global_step=3)
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    callback.on_step_end(arguments, state, control, model=model)
    callback.on_save(arguments, state, control)
    assert not control.should_save, "no signal came"
    monkeypatch.setattr(interrupts, "came", lambda: signal.SIGHUP)
    if weight == 1.0:
        callback.on_step_end(arguments, state, control, model=model)
        assert control.should_save and not control.should_training_stop, "a resumed run would stop again"
        with pytest.raises(interrupts.Interrupted) as raised:
            callback.on_save(arguments, state, control)
    else:
        with pytest.raises(interrupts.Interrupted) as raised:
            callback.on_step_end(arguments, state, control, model=model)
        assert not control.should_save
    assert raised.value.exit_code == 129
