"""The contract that every method keeps (see contract.py), and that a method which breaks it is found out."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract import (
    SUBJECTS,
    Trace,
    assert_alike,
    check_accumulation,
    check_neutral,
    check_queries,
    check_resume,
    check_stock,
    everything,
    logits_of,
    made_for,
    splits,
    trained,
    trainer,
)
from decided import decided_teacher
from everything import Everything, EverythingOptions

from zskd.config.methods.table import METHODS
from zskd.methods.context import Batch, StudentOutput
from zskd.methods.method import MICRO, ROWS, Method
from zskd.methods.step import Step
from zskd.methods.table import CODE
from zskd.transfer.transfer_set import TransferSet

WHOLE = [name for name, subject in SUBJECTS.items() if subject.coupling == MICRO]
PARTS = [name for name in SUBJECTS if name not in WHOLE]
every_method = pytest.mark.parametrize("name", SUBJECTS)


@pytest.fixture(scope="module", autouse=True)
def quick_collection() -> Iterator[None]:
    """Every training collects garbage first, which takes longer than the training where all libraries are looked at."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_every_method_of_the_table_is_a_subject() -> None:
    assert METHODS.keys() == CODE.keys()
    assert METHODS.keys() <= {subject.spec.name for subject in SUBJECTS.values()}


def test_the_couplings_are_those_that_are_documented() -> None:
    found = {name: subject.coupling for name, subject in SUBJECTS.items()}
    assert found == {
        "gradient": MICRO, "ranks": MICRO, "gradient-rows": ROWS, "ranks-rows": ROWS, "class-balance": ROWS,
        "anchors": ROWS, "backward-pass": ROWS, "inconsistent": ROWS, "feature-prior": ROWS, "messages": ROWS,
        "roles": ROWS, "uncertainty-mixup": MICRO, "selection": MICRO, "selection-rows": ROWS, "everything": 2,
    }  # fmt: skip


# 1. Splits


@pytest.mark.parametrize("name", PARTS)
def test_a_split_batch_trains_like_the_whole(name: str, tmp_path: Path) -> None:
    check_accumulation(SUBJECTS[name], tmp_path)


WORKER = """
import gc, json, os, sys
sys.path[:0] = json.loads(sys.argv[1])
from pathlib import Path
import torch
from zskd.system.processes import join
join(2)
from contract import in_both_processes
gc.freeze()
found = in_both_processes(Path(sys.argv[2]))
if torch.distributed.get_rank() == 0:
    Path(sys.argv[2], "found.json").write_text(json.dumps({"world": torch.distributed.get_world_size(), **found}))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
os._exit(0)  # threads that are still at work would abort the process
"""


def test_two_processes_train_like_one_and_resume_and_end_alike(tmp_path: Path) -> None:
    """One test for all methods, so that there is one pair of processes, on however many workers the tests run."""
    (tmp_path / "worker.py").write_text(WORKER, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(tmp_path / "worker.py"), json.dumps(sys.path), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-6000:]
    found: dict[str, Any] = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["world"] == 2 and found["alike"] and found["resumed"] and found["best"]
    for name, subject in SUBJECTS.items():
        one = trained(made_for(subject, tmp_path / name))
        for split in splits(subject):
            print(f"{name}, two processes, {split}")  # noqa: T201, for a failure
            assert_alike(one, Trace(**found[f"{name} {split}"]), subject.of_micro)
    muon = trained(made_for(None, tmp_path / "muon", optimizer="muon"))
    assert_alike(muon, Trace(**found["muon"]))
    assert muon.logits != trained(made_for(None, tmp_path / "adamw")).logits


# 2. to 5.


@every_method
def test_a_resumed_run_is_the_one_that_was_never_stopped(name: str, tmp_path: Path) -> None:
    check_resume(SUBJECTS[name], tmp_path, (3, 4, 6) if name == "everything" else (6,))


@every_method
def test_announced_queries_are_those_that_are_asked(name: str, tmp_path: Path) -> None:
    check_queries(SUBJECTS[name], tmp_path)


@every_method
def test_the_saved_student_is_stock_and_the_best_one(name: str, tmp_path: Path) -> None:
    check_stock(SUBJECTS[name], tmp_path)


@every_method
def test_the_neutral_setting_changes_nothing_and_the_tested_one_does(name: str, tmp_path: Path) -> None:
    check_neutral(SUBJECTS[name], tmp_path)


# 6. Methods that break the contract


class GlobalNoise(Everything):
    """Draws from the global generator."""

    def draw(self, step: Step, place: int, use: str) -> float:
        return float(torch.rand(()))


class OtherRows(Everything):
    """Depends on the other rows of its micro-batch, which is more than the two that it names."""

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        term = super().loss(batch, output, step)
        assert term is not None
        return term + output.logits.softmax(dim=-1).mean(dim=0).square().sum()


class Forgetful(Everything):
    """Forgets its memory."""

    def load_state(self, state: dict[str, Any]) -> None:
        self._queries = state["queries"]


class Unkept(Everything):
    """Keeps a module to itself."""

    def modules(self) -> dict[str, torch.nn.Module]:
        super().modules()
        return {}

    def end_step(self, step: Step) -> dict[str, float] | None:
        with torch.no_grad():
            for weight in self.projector.parameters():
                weight -= 1e-2 * weight.grad
                weight.grad = None
        self.options = replace(self.options, shared=False)
        report = super().end_step(step)
        self.options = replace(self.options, shared=True)
        return report


class Unsaid(Everything):
    """Asks more than it says."""

    def end_step(self, step: Step) -> dict[str, float] | None:
        assert step.teacher is not None
        step.teacher.forward(ids=torch.tensor([[2, 9, 3]]), mask=torch.ones(1, 3, dtype=torch.int64))
        return super().end_step(step)


class Unannounced(Unsaid):
    """Counts what it has not announced."""

    def end_step(self, step: Step) -> dict[str, float] | None:
        self._asked += 1
        return super().end_step(step)


class Unmerged(Everything):
    """Leaves the student without what it learned."""

    def finish(self, student: Any) -> None:
        pass


class Attached(Everything):
    """Leaves a module in the student."""

    def finish(self, student: Any) -> None:
        super().finish(student)
        student.projector = self.projector


class NeverNeutral(Everything):
    """Does something with every setting."""

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        return super().loss(batch, output, step) or 1e-3 * output.logits.square().mean()


class Idle(Everything):
    """Does nothing with any setting."""

    def __init__(self, options: EverythingOptions | None = None) -> None:
        super().__init__(replace(options or EverythingOptions(), weight=0, mix=0, offset=0, shared=False, choose=False))


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (GlobalNoise, check_accumulation),
        (OtherRows, check_accumulation),
        (Forgetful, check_resume),
        (Unkept, check_resume),
        (Unsaid, check_queries),
        (Unannounced, check_queries),
        (Unmerged, check_stock),
        (Attached, check_stock),
        (NeverNeutral, check_neutral),
        (Idle, check_neutral),
    ],
)
def test_a_broken_method_is_found_out(cls: type[Everything], check: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as caught:
        check(everything(cls), tmp_path)
    assert Path(caught.traceback[-1].path).name != "everything.py", "the check finds it, not the method itself"


# 7. Several methods


class Traced(Method):
    """Says when its hooks are called, and makes of a batch and of logits something that shows the order."""

    def __init__(self, name: str, calls: list[str], chooses: bool = False) -> None:
        self.name, self.calls, self.chooses = name, calls, chooses  # type: ignore[misc]

    def note(self, hook: str, step: Step | None = None) -> None:
        assert step is None or step.method == self.name
        self.calls.append(f"{hook} {self.name}")

    def transfer_set(self, rows: TransferSet) -> TransferSet:
        self.note("transfer_set")
        return replace(
            rows, columns={**rows.columns, f"from_{self.name}": np.full(len(rows.logits), len(rows.columns))}
        )

    def epoch(self, number: int, student: Any) -> np.ndarray | None:
        self.note("epoch")
        return np.arange(8) if self.chooses else None

    def whole(self, batches: list[Batch], step: Step) -> None:
        self.note("whole", step)

    def batch(self, batch: Batch, step: Step) -> Batch:
        self.note("batch", step)
        drawn = torch.tensor([step.rng(place).random() for place in step.places])
        return {**batch, f"drawn_{self.name}": drawn, "teacher_logits": 2 * batch["teacher_logits"] + len(self.name)}

    def logits(self, output: StudentOutput, step: Step) -> torch.Tensor:
        self.note("logits" if step.training else "evaluated logits", step)
        return 2 * output.logits + len(self.name)

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        self.note("loss", step)
        if self.name == "second":
            assert not torch.equal(batch["drawn_first"], batch["drawn_second"]), "each has its own random numbers"
        return None

    def end_step(self, step: Step) -> dict[str, float] | None:
        self.note("end_step", step)
        return {f"{self.name}/one": 1.0}

    def finish(self, student: Any) -> None:
        self.note("finish")


def test_hooks_of_two_methods_are_called_in_the_order_of_their_list(tmp_path: Path) -> None:
    calls: list[str] = []
    teacher = decided_teacher()
    made = trainer(tmp_path, [Traced("first", calls), Traced("second", calls)], teacher, max_steps=1)
    made.train()
    hooks = ("transfer_set", "epoch", "whole", "batch", "logits", "loss", "end_step", "finish")
    assert calls == [f"{hook} {name}" for hook in hooks for name in ("first", "second")]
    assert made.train_dataset[0]["from_first"] == 0 and made.train_dataset[0]["from_second"] == 1
    assert made.state.log_history[0].keys() >= {"first/one", "second/one"}


def test_each_is_given_what_the_one_before_it_made(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    class Looks(Traced):
        def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
            seen.update(batch=batch, logits=output.logits)
            return None

    made = trainer(tmp_path, [Traced("one", []), Looks("longer", [])], decided_teacher(), max_steps=1)
    plain = torch.tensor(made.train_dataset["teacher_logits"])
    made.train()
    wanted = 2 * (2 * plain + 3) + 6
    found = seen["batch"]["teacher_logits"]
    assert all(any(torch.allclose(row, other) for other in wanted) for row in found)
    with torch.no_grad():
        student = trainer(tmp_path / "plain", [], decided_teacher()).model.train()
        batch = {name: seen["batch"][name] for name in ("input_ids", "attention_mask")}
        torch.testing.assert_close(seen["logits"].detach(), 2 * (2 * student(**batch).logits + 3) + 6)


def test_the_adversary_and_the_class_balance_go_together(tmp_path: Path) -> None:
    teacher = decided_teacher()
    methods = [SUBJECTS["class-balance"].method(teacher), SUBJECTS["gradient"].method(teacher)]
    made = trainer(tmp_path, methods, teacher, inputs=192)
    alone = made_for(SUBJECTS["gradient"], tmp_path / "alone", inputs=192)
    assert len(made.train_dataset) > len(alone.train_dataset) == 192
    made.train()
    alone.train()
    assert methods[1].queries == alone.seam.methods[0].queries > 0
    assert logits_of(made) != logits_of(alone)


def test_a_second_method_that_chooses_the_rows_of_an_epoch_is_refused(tmp_path: Path) -> None:
    made = trainer(tmp_path, [Traced("first", [], True), Traced("second", [])], decided_teacher(), max_steps=1)
    made.train()
    made = trainer(tmp_path, [Traced("first", [], True), Traced("second", [], True)], decided_teacher(), max_steps=1)
    with pytest.raises(ValueError, match="second: another method chooses the rows of an epoch too"):
        made.train()
