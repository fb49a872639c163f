"""Cases in processes of their own, a few at the same time, each with a limit and with nothing left running after it."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from recipes.checkouts import descendants, ended
from recipes.faults.case import Case, NotTried
from recipes.faults.commands import ENVIRONMENT, PAUSE, Running, start_function
from recipes.faults.world import World

# Of zskd the verbs, which import the rest.
_LIBRARIES = (
    "accelerate", "datasets", "evaluate", "peft", "sklearn.metrics", "transformers", "zskd.cli.parser",
    "zskd.diagnosis.diagnose", "zskd.finetune", "zskd.inference.export", "zskd.inference.predict", "zskd.pipeline",
    "zskd.publish", "zskd.report.page",
)  # fmt: skip
_ANSWER = "answer.json"
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
WORLD_LIMIT = 300.0  # seconds


class CaseLost(Exception):
    """The campaign itself failed."""


@dataclass
class Result:
    """What a case found.

    Attributes:
        complaints: none where it is clean.
        not_tried: why the machine could not try it; None where it did.
    """

    name: str
    complaints: list[str] = field(default_factory=list)
    not_tried: str | None = None
    seconds: float = 0.0


def load_libraries() -> None:
    """Import what commands need, so that a forked process need not. Nothing may be computed here."""
    os.environ.update(ENVIRONMENT)
    for name in _LIBRARIES:
        importlib.import_module(name)
    torch.set_num_threads(1)  # the variable for it comes too late where torch was imported before


def adopt_orphans() -> None:
    """Processes whose parent ends become children of this one, so that none is lost sight of."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def run_function(function: Callable[[], object], scratch: Path, limit: float = WORLD_LIMIT) -> None:
    """Run a function in a process of its own.

    Raises:
        CaseLost: it raised, or took longer than `limit` seconds.
    """
    load_libraries()
    scratch.mkdir(parents=True, exist_ok=True)

    def run() -> int:
        function()
        return 0

    done = start_function(scratch, run).wait(limit)
    if done.code or done.hung:
        raise CaseLost(done.err or f"it took longer than {limit} s")


def run_cases(cases: list[Case], world: World, work: Path, jobs: int, *, keep: bool = False) -> list[Result]:
    """Run cases, `jobs` at the same time; results in their order."""
    load_libraries()
    adopt_orphans()
    work.mkdir(parents=True, exist_ok=True)
    results: dict[int, Result] = {}
    waiting, running = list(enumerate(cases)), dict[int, tuple[Running, Path]]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, case = waiting.pop(0)
                scratch = work / f"{number:03}"
                scratch.mkdir()
                running[number] = (_start(case, world, scratch), scratch)
            for number, (process, scratch) in list(running.items()):
                late = process.seconds > cases[number].limit
                if not late and not process.ended():
                    continue
                results[number] = _result(cases[number], process, scratch, late=late)
                del running[number]
                if not (keep and results[number].complaints):
                    shutil.rmtree(scratch, ignore_errors=True)
            time.sleep(PAUSE)
    finally:
        for process, _ in running.values():
            process.kill()
    return [results[number] for number in range(len(cases))]


def _start(case: Case, world: World, scratch: Path) -> Running:
    beside = scratch.with_name(scratch.name + ".case")

    def run() -> int:
        adopt_orphans()
        complaints, not_tried = list[str](), None
        try:
            complaints = case.run(world, scratch)
        except NotTried as reason:
            not_tried = str(reason)
        except Exception:
            complaints = [f"the case itself failed: {traceback.format_exc()}"]
        if left := _still_running():
            complaints = [*complaints, f"processes still running: {left}"]
        answer = {"complaints": complaints, "not_tried": not_tried}
        (beside / _ANSWER).write_text(json.dumps(answer), encoding="utf-8")
        return 0

    beside.mkdir()
    return start_function(beside, run, folder=scratch)


def _still_running() -> list[int]:
    """Processes that a case started and that have not ended by themselves; they are killed."""
    until = time.monotonic() + 5  # what was told to end may need a moment
    while (left := [pid for pid in descendants(os.getpid()) if not ended(pid)]) and time.monotonic() < until:
        time.sleep(PAUSE)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return left


def _result(case: Case, process: Running, scratch: Path, *, late: bool) -> Result:
    beside = scratch.with_name(scratch.name + ".case")
    seconds = round(process.seconds, 1)
    if late:
        process.kill()
    path = beside / _ANSWER
    if late:
        result = Result(case.name, [f"hangs: longer than {case.limit:.0f} s"], seconds=seconds)
    elif not path.is_file():
        result = Result(case.name, [f"the case ended without an answer: {process.err()[-600:]}"], seconds=seconds)
    else:
        found = json.loads(path.read_text(encoding="utf-8"))
        result = Result(case.name, found["complaints"], found["not_tried"], seconds)
    shutil.rmtree(beside, ignore_errors=True)
    return result
