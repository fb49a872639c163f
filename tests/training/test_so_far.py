"""A resumed training logs and sums up as the uninterrupted one, wherever its checkpoint lies between log entries."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import as_of_an_older_zskd
from test_trainer import rows, trainer
from transformers.trainer_utils import IntervalStrategy

from zskd.training.manifest import write_manifest
from zskd.training.so_far import FILE, SoFar, read_so_far, write_so_far


def made(folder: Path) -> Any:
    """A trainer of 7 steps, with log entries at 3 and 6 and checkpoints at 2, 4 and 6."""
    found = trainer(folder, rows(64), max_steps=7, logging_steps=3, save_steps=2, per_device_train_batch_size=8)
    found.args.save_strategy = IntervalStrategy.STEPS
    return found


def log(found: Any) -> list[dict[str, float]]:
    """Losses of the log; the last entry has `train_loss`."""
    return [
        {k: v for k, v in entry.items() if k in ("loss", "train_loss", "step")} for entry in found.state.log_history
    ]


@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_resumed_training_has_the_losses_of_the_whole(step: int, tmp_path: Path) -> None:
    whole = made(tmp_path)
    output = whole.train()
    wanted = log(whole)
    assert [entry["step"] for entry in wanted] == [3, 6, 7]
    losses = [entry["loss"] for entry in wanted[:2]]
    assert min(losses) < wanted[-1]["train_loss"] < max(losses) + 1
    again = made(tmp_path)
    resumed = again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
    assert log(again) == wanted
    assert resumed.training_loss == output.training_loss == wanted[-1]["train_loss"]


def test_the_mean_loss_of_a_training_is_that_of_its_steps(tmp_path: Path) -> None:
    every = trainer(tmp_path, rows(64), max_steps=7, logging_steps=1, per_device_train_batch_size=8)
    every.train()
    losses = [entry["loss"] for entry in every.state.log_history if "loss" in entry]
    assert len(losses) == 7
    assert made(tmp_path).train().training_loss == pytest.approx(sum(losses) / 7, rel=1e-5)


def test_a_checkpoint_of_an_older_version_is_resumed_and_its_loss_is_said_to_be_partial(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = made(tmp_path).train()
    checkpoint = shutil.copytree(tmp_path / "checkpoint-4", tmp_path / "older" / "checkpoint-4")
    (checkpoint / FILE).unlink()
    as_of_an_older_zskd(checkpoint)
    again = made(tmp_path / "older")
    assert again.train(resume_from_checkpoint=str(checkpoint)).training_loss != whole.training_loss
    assert "train_loss is the mean of the steps after it" in caplog.text


def test_a_trainer_that_trains_anew_begins_its_sums_anew(tmp_path: Path) -> None:
    found = made(tmp_path)
    found.train()
    checkpoint = tmp_path / "checkpoint-6"
    held = read_so_far(checkpoint)
    assert held is not None and 0 < held.seconds < 1000
    write_so_far(checkpoint, replace(held, seconds=5000.0))
    write_manifest(checkpoint)
    assert found.train(resume_from_checkpoint=str(checkpoint)).metrics["train_runtime"] > 5000
    assert found.train().metrics["train_runtime"] < 1000


def test_what_is_pending_belongs_to_a_process(tmp_path: Path) -> None:
    so_far = SoFar(losses=3.5, pending=[1.0, 2.0], logged=3, seconds=9.0)
    write_so_far(tmp_path, so_far)
    assert read_so_far(tmp_path) == so_far
    assert [so_far.own_pending(i, 2) for i in range(2)] == [1.0, 2.0]
    assert so_far.own_pending(0, 1) == so_far.own_pending(3, 4) == 1.5
    assert read_so_far(tmp_path / "none") is None
