"""Weights of evaluations: what stays on the disk, what a checkpoint refers to, and the means that are candidates."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerControl, TrainerState, TrainingArguments

from zskd.errors import RunError
from zskd.finetune.snapshots import Snapshots, check_names, choose_weights, read_snapshots


def number(value: float) -> torch.nn.Module:
    """A model of one number that is trained and one that is not."""
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.weight, value)
    model.bias.requires_grad_(False)
    return model


class Judge:
    """A trainer whose evaluation says how near the model's number is to `best`."""

    def __init__(self, best: float) -> None:
        self.model, self.best = number(0.0), best

    def remove_callback(self, _: object) -> None: ...

    def evaluate(self) -> dict[str, float]:
        return {"eval_accuracy": -abs(self.model.weight.item() - self.best)}


def evaluated(folder: Path, accuracies: list[float], steps: int, every: int = 10) -> Snapshots:
    """A training with checkpoints, of which two are kept; the weight after an evaluation is its number from 0."""
    snapshots, arguments = Snapshots(folder), TrainingArguments(str(folder), use_cpu=True, report_to="none")
    for i, accuracy in enumerate(accuracies):
        step = min(steps, every * (i + 1))
        state = TrainerState(global_step=step, max_steps=steps, eval_steps=every)
        metrics = {"eval_accuracy": accuracy}
        snapshots.on_evaluate(arguments, state, TrainerControl(), metrics=metrics, model=number(i))
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir()
        snapshots.save(checkpoint, step, number(i))
        for path in sorted(folder.glob("checkpoint-*"), key=os.path.getmtime)[:-2]:
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        snapshots.on_save(arguments, state, TrainerControl())
    return snapshots


def files(folder: Path) -> set[int]:
    return {int(path.stem.partition("-")[2]) for path in (folder / "snapshots").iterdir()}


def test_the_last_ones_and_the_best_stay_each_once_on_the_disk(tmp_path: Path) -> None:
    snapshots = evaluated(tmp_path, [0.1, 0.5, 0.2, 0.3, 0.3, 0.3], steps=60)
    assert files(tmp_path) == {20, 30, 40, 50, 60}, "the best, and the widest mean's four"
    assert [s.step for s in snapshots.taken] == [10, 20, 30, 40, 50, 60]
    assert [s.accuracy for s in snapshots.taken] == [0.1, 0.5, 0.2, 0.3, 0.3, 0.3]
    assert [s.sha256 is None for s in snapshots.taken] == [True, False, False, False, False, False]
    weights = tmp_path / "checkpoint-60" / "model.safetensors"
    assert weights.samefile(tmp_path / "snapshots" / "step-60.safetensors")
    assert load_file(weights).keys() == {"weight"}, "only what is trained"


def test_what_the_checkpoint_before_refers_to_stays_too(tmp_path: Path) -> None:
    """A training may have to go on from it, if the newest is damaged."""
    snapshots = evaluated(tmp_path, [0.5, 0.1, 0.1, 0.6], steps=120)  # with 12 the widest mean is of the last 8
    assert files(tmp_path) == {10, 40}, "the best until 30, and until 40"
    for step in (30, 40):
        assert snapshots.trouble(tmp_path / f"checkpoint-{step}") is None
    (tmp_path / "snapshots" / "step-10.safetensors").write_bytes(b"")
    trouble = snapshots.trouble(tmp_path / "checkpoint-30")
    assert trouble is not None and trouble.why == (
        "snapshots/step-10.safetensors: expected the checksum of what was written, found another"
    )
    assert snapshots.trouble(tmp_path / "checkpoint-40") is None
    (tmp_path / "checkpoint-30" / "snapshots.json").write_text("[", encoding="utf-8")
    snapshots.on_save(TrainingArguments("x", use_cpu=True), TrainerState(), TrainerControl())
    assert files(tmp_path) == {10, 40}, "what a damaged list needs is not known"


def test_a_last_step_that_is_evaluated_too_counts(tmp_path: Path) -> None:
    evaluated(tmp_path, [0.3, 0.2, 0.2, 0.2], steps=38)
    assert files(tmp_path) == {10, 20, 30, 38}, "the mean of the last four"


def test_a_resumed_training_knows_the_evaluations_before_it(tmp_path: Path) -> None:
    before = evaluated(tmp_path, [0.1, 0.5, 0.2], steps=60)
    after = Snapshots(tmp_path)
    after.load(tmp_path / "checkpoint-30")
    assert after.taken == before.taken == read_snapshots(tmp_path / "checkpoint-30")


@pytest.mark.parametrize(
    ("best", "chosen", "value"),
    [(0.0, "mean of last 4", 1.5), (2.5, "mean of last 2", 2.5), (3.0, "best evaluation", 3.0)],
)
def test_the_best_of_one_evaluation_and_of_means_is_chosen(
    best: float, chosen: str, value: float, tmp_path: Path
) -> None:
    snapshots = evaluated(tmp_path, [0.1, 0.2, 0.2, 0.3], steps=40)
    judge = Judge(best)
    scores = choose_weights(judge, snapshots)  # type: ignore[arg-type]
    assert list(scores) == ["mean of last 4", "mean of last 2", "best evaluation"], "the first maximum is chosen"
    assert max(scores, key=lambda name: scores[name]) == chosen and judge.model.weight.item() == value


def test_no_damaged_weights_become_a_teacher(tmp_path: Path) -> None:
    snapshots = evaluated(tmp_path, [0.1, 0.2, 0.2, 0.3], steps=40)
    (tmp_path / "snapshots" / "step-20.safetensors").unlink()
    with pytest.raises(
        RunError, match=r"snapshots/step-20.safetensors: expected a file, found none\. No teacher was saved"
    ):
        choose_weights(Judge(0.0), snapshots)  # type: ignore[arg-type]


def test_a_checkpoint_of_other_weights_is_refused(tmp_path: Path) -> None:
    evaluated(tmp_path, [0.1], steps=40)
    check_names(tmp_path / "checkpoint-10", number(0.0))
    for other in (torch.nn.Linear(1, 1), torch.nn.Linear(2, 1, bias=False)):
        with pytest.raises(RunError, match="expected the weights that are trained here, found others"):
            check_names(tmp_path / "checkpoint-10", other)
