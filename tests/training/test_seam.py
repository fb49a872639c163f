"""Where methods join training: what is refused and what hooks are given (tests/methods/test_contract.py trains)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_bert
from test_trainer import rows
from transformers import TrainerCallback

from zskd import ZeroShotArguments, ZeroShotTrainer
from zskd.methods.context import Batch, Run, StudentOutput, Training
from zskd.methods.method import MICRO, Method
from zskd.methods.step import Step
from zskd.training.finish import FinishFirst
from zskd.training.seam import EPOCH, Seam
from zskd.transfer.collator import TransferCollator


def method(name: str = "one", **hooks: Any) -> Method:
    """A method of a class of its own with these attributes and hooks."""
    return type("Made", (Method,), {"name": name, **hooks})()


class Processes:
    """An accelerator of one of several processes on one CPU."""

    device = torch.device("cpu")

    def __init__(self, count: int, index: int = 0) -> None:
        self.num_processes, self.process_index = count, index


def seam(*methods: Method, size: int = 8, accumulation: int = 1, accelerator: Any = None) -> Seam:
    training = Training(accelerator or Processes(1), 0, size, accumulation, temperature=1.0, learning_rate=1e-3)
    return Seam(methods, Run(0, student()), training, None)


def student() -> Any:
    return tiny_bert(100, ("a", "b", "c"), hidden=8)


def micro(count: int) -> Batch:
    return {"input_ids": torch.ones(count, 3, dtype=torch.int64), "teacher_logits": torch.zeros(count, 3)}


# What is refused before anything is trained (zskd.training.seam_checks)


@pytest.mark.parametrize(
    ("methods", "settings", "message"),
    [
        ([method("one"), method("one")], {}, "expected names that differ, found one twice"),
        ([method("one", folder="f"), method("two", folder="f")], {}, "expected folders that differ, found f twice"),
        ([method("one"), method("two", folder="one")], {}, "expected folders that differ, found one twice"),
        ([method("")], {}, "expected a name for each, found none for Made"),
        ([method(wants_live_teacher=True)], {}, "one: expected a teacher with weights .*found none"),
        ([method(coupling="row")], {}, "one: coupling: expected 'rows', 'micro' or a number of rows, found 'row'"),
        ([method(coupling=0)], {}, "one: coupling: .*found 0"),
        ([method(coupling=3)], {}, "one: expected batches of a multiple of 3 rows .*found 8"),
        ([method(coupling=MICRO)], {"accumulation": 2}, "found 2 accumulation steps and 1 processes"),
        ([method(coupling=MICRO)], {"accelerator": Processes(2)}, "found 1 accumulation steps and 2 processes"),
    ],
)
def test_what_cannot_work_is_refused(methods: list[Method], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        seam(*methods, **settings)


def test_what_can_work_is_not_refused() -> None:
    assert not seam() and seam(method("one"), method("two"))
    seam(method(coupling=MICRO))
    seam(method(coupling=MICRO, splits=True), accumulation=2, accelerator=Processes(2))
    seam(method(coupling=4), accumulation=2)


def test_a_method_is_prepared_once() -> None:
    calls: list[Run] = []
    one = method(prepare=lambda self, run: calls.append(run))
    seam(one)
    seam(one)
    assert len(calls) == 1 and one.prepared


# A step


@pytest.mark.parametrize("index", [0, 1])
def test_every_hook_is_told_where_its_rows_stand(index: int) -> None:
    seen: list[Step] = []
    one = method(
        whole=lambda self, batches, step: seen.append(step),
        batch=lambda self, batch, step: seen.append(step) or batch,
    )
    made = seam(one, size=4, accumulation=2, accelerator=Processes(2, index))
    batches = [micro(4), micro(4)]
    made.begin_step(batches, 5, 20, student())
    for batch in batches:
        made.batch(batch, 5, 20, 2, student())
    first, second = ([0, 1, 2, 3], [8, 9, 10, 11]) if index == 0 else ([4, 5, 6, 7], [12, 13, 14, 15])
    assert [step.places.tolist() for step in seen] == [first + second, first, second]
    assert [(step.micro, step.micros, step.last) for step in seen] == [(0, 2, False), (0, 2, False), (1, 2, True)]
    assert {(step.number, step.total, step.size, step.processes, step.method) for step in seen} == {
        (5, 20, 16, 2, "one")
    }
    assert {step.progress for step in seen} == {0.25}
    made.begin_step(batches[:1], 6, 20, student())  # an epoch's last group may have fewer micro-batches
    assert seen[-1].size == 16 and seen[-1].whole == 8 and seen[-1].places.tolist() == first


def test_a_hook_sees_the_student_in_training_mode_whatever_was_left() -> None:
    modes: list[bool] = []

    def look(self: Method, batch: Any, step: Step) -> Any:
        modes.append(step.student.training)
        step.student.eval()
        return batch

    made, model = seam(method("one", batch=look, whole=look), method("two", batch=look, whole=look)), student().eval()
    made.begin_step([micro(8)], 0, 1, model)
    made.batch(micro(8), 0, 1, 1, model)
    assert modes == [True] * 4


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (lambda self, batch, step: {"teacher_logits": batch["teacher_logits"]}, "of 8 rows to stay, found none"),
        (lambda self, batch, step: {n: v[:5] for n, v in batch.items()}, "of 8 rows to stay, found 5 rows"),
    ],
)
def test_a_batch_keeps_its_rows(hook: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=rf"one: batch\(\): expected input_ids {message}"):
        seam(method(batch=hook)).batch(micro(8), 0, 1, 1, student())


def test_replaced_logits_leave_the_students_own_head_a_gradient_of_zero() -> None:
    made = seam(method(logits=lambda self, output, step: torch.ones(2, 3, requires_grad=True)))
    own = torch.randn(2, 3, requires_grad=True)
    step = Step(0, 1, 0, np.arange(2))
    found = made.logits(StudentOutput(own), step)
    assert (found == 1).all()
    found.sum().backward()
    assert own.grad is not None and (own.grad == 0).all()
    evaluated = made.logits(StudentOutput(own), Step(0, 1, 0, np.arange(2), training=False))
    assert not torch.autograd.grad(evaluated.sum(), own, allow_unused=True)[0]
    plain = seam(method())
    assert plain.logits(StudentOutput(own), step) is own


def test_the_second_view_has_replaced_logits_too_and_terms_are_added() -> None:
    seen: list[torch.Tensor] = []

    def loss(self: Method, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor:
        seen.append(output.view.logits)
        return output.logits.sum()

    one = method("one", logits=lambda self, output, step: 2 * output.logits, loss=loss)
    made, step = seam(one, method("two"), method("three", loss=loss)), Step(0, 1, 0, np.arange(2))
    output = StudentOutput(torch.ones(2, 3), view=StudentOutput(torch.full((2, 3), 5.0)))
    assert made.loss(micro(2), output, step) == 12
    assert all((logits == 10).all() for logits in seen) and len(seen) == 2
    assert seam(method()).loss(micro(2), output, step) is None


# Epochs


def test_a_choice_of_rows_is_gone_through_until_the_epoch_is_full_and_asked_for_once() -> None:
    asked: list[int] = []

    def epoch(self: Method, number: int, model: Any) -> np.ndarray:
        assert not model.training and not torch.is_grad_enabled()
        asked.append(number)
        return np.array([4, 1, 7])

    made, model = seam(method(), method("two", epoch=epoch)), student().train()
    for _ in range(2):
        assert made.epoch_rows(3, model, 8).tolist() == [4, 1, 7, 4, 1, 7, 4, 1]
    assert made.epoch_rows(4, model, 9).tolist() == [4, 1, 7] * 3
    assert asked == [3, 4] and model.training


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "expected 1 to 8 indices of rows"),
        ([0] * 9, r"expected 1 to 8 indices of rows, found int64 of shape \(9,\)"),
        ([0.5], "found float64"),
        ([[1, 2]], r"of shape \(1, 2\)"),
        ([True, False], "found bool"),
        ([0, 8], "expected indices from 0 to 7, found 0 to 8"),
        ([-1], "expected indices from 0 to 7, found -1 to -1"),
    ],
)
def test_a_choice_that_an_epoch_cannot_keep_is_refused(found: list[Any], message: str) -> None:
    made = seam(method(epoch=lambda self, number, model: np.asarray(found)))
    with pytest.raises(ValueError, match=message):
        made.epoch_rows(0, student(), 8)


def test_the_rows_of_an_epoch_are_in_a_checkpoint(tmp_path: Path) -> None:
    def epoch(self: Method, number: int, model: Any) -> np.ndarray:
        return np.array([number, 2])

    made, again = seam(method(epoch=epoch)), seam(method(epoch=epoch))
    made.save(tmp_path)
    assert not (tmp_path / EPOCH).exists(), "there is no epoch yet"
    chosen = made.epoch_rows(1, student(), 4)
    made.save(tmp_path)
    again.load(tmp_path)
    again.methods[0].epoch = lambda number, model: pytest.fail("asked again")  # type: ignore[method-assign]
    assert again.epoch_rows(1, student(), 4).tolist() == chosen.tolist() == [1, 2, 1, 2]


def trainer(
    folder: Path, *methods: Method, length: bool = True, callbacks: Any = None, **changes: Any
) -> ZeroShotTrainer:
    settings = {
        "max_steps": 2, "per_device_train_batch_size": 8, "use_cpu": True, "disable_tqdm": True, "report_to": "none",
        "save_strategy": "no", **changes,
    }  # fmt: skip
    return ZeroShotTrainer(
        student(), ZeroShotArguments(str(folder), **settings), methods=methods, callbacks=callbacks,
        train_dataset=rows(32, length=length), eval_dataset=rows(8), data_collator=TransferCollator(0),
    )  # fmt: skip


class Stream(torch.utils.data.IterableDataset):
    """Rows that nobody can choose from."""

    def __iter__(self) -> Any:
        yield from rows(32)


@pytest.mark.parametrize("streamed", [False, True])
def test_rows_in_an_order_that_no_method_can_choose_are_refused(streamed: bool, tmp_path: Path) -> None:
    chooser = method(epoch=lambda self, number, model: np.arange(4))
    for one in (chooser, method()):
        made = trainer(tmp_path, one, length=False)
        if streamed:
            made.train_dataset = Stream()
        if one is chooser:
            with pytest.raises(ValueError, match=r"one: it chooses the rows of an epoch, so .*column `length`"):
                made.train()
        else:
            made.train()
            assert made.state.global_step == 2


# The end


class AtTheEnd(TrainerCallback):
    """Notes that training has ended."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        self.calls.append("callback")


def test_a_student_is_finished_once_and_before_any_callback_sees_the_end(tmp_path: Path) -> None:
    calls: list[str] = []

    def finish(self: Method, model: Any) -> None:
        assert isinstance(model, type(student())) and not torch.is_grad_enabled()
        calls.append("finish")

    one = method(finish=finish, logits=lambda self, output, step: calls.append("logits") or output.logits)
    made = trainer(tmp_path, one, callbacks=[AtTheEnd(calls)])
    assert isinstance(made.callback_handler.callbacks[0], FinishFirst)
    made.train()
    assert calls == ["logits"] * 2 + ["finish", "callback"]
    made.evaluate()
    made.seam.finish(made.model)
    assert len(calls) == 4, "a finished student is a stock one"


def test_methods_train_once(tmp_path: Path) -> None:
    made = trainer(tmp_path, method("one"), method("two"))
    made.train()
    with pytest.raises(ValueError, match=r"expected a trainer that has not trained yet, as one, two would go on"):
        made.train()
    alone = trainer(tmp_path)
    alone.train()
    alone.train()


def test_a_trainer_that_has_trained_may_be_resumed(tmp_path: Path) -> None:
    calls: list[str] = []
    made = trainer(tmp_path, method(finish=lambda self, model: calls.append("x")), save_strategy="steps", save_steps=1)
    for resume in (None, str(tmp_path / "checkpoint-1")):
        made.train(resume_from_checkpoint=resume)
    assert len(calls) == 2


def test_checkpoints_that_would_lack_the_best_modules_are_refused_at_the_beginning(tmp_path: Path) -> None:
    settings = {
        "save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1, "save_only_model": True,
        "load_best_model_at_end": True, "metric_for_best_model": "loss",
    }  # fmt: skip
    made = trainer(tmp_path, method(modules=lambda self: {"m": torch.nn.Linear(1, 1)}), **settings)
    with pytest.raises(ValueError, match="save_only_model: expected False with load_best_model_at_end"):
        made.train()
    assert made.state.global_step == 0
    trainer(tmp_path, method(), **settings).train()


def test_states_are_loaded_onto_a_device_that_torch_knows(tmp_path: Path) -> None:
    """Among several CPU processes accelerate calls the device cpu:0."""
    devices: list[torch.device] = []
    accelerator = Processes(1)
    accelerator.device = torch.device("cpu:0")
    one = method(load=lambda self, folder, device: devices.append(device))
    seam(one, accelerator=accelerator).load(tmp_path)
    assert devices == [torch.device("cpu")]
