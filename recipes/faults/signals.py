"""Signals: Ctrl-C, SIGTERM and SIGHUP at a drawn moment, the first second included.

The command ends with the signal's exit code, one message and no traceback, and leaves no process behind. A run that is
resumed gives the undisturbed student; one of two processes only has to finish.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from recipes.checkouts import descendants
from recipes.faults.case import Case, complaints, leftovers
from recipes.faults.commands import Running, start, start_function
from recipes.faults.world import World

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
VERBS = ("distill", "distill", "distill", "distill adversarial", "distill in two processes", "finetune", "predict",
         "evaluate")  # fmt: skip
LIMIT = 300.0  # seconds of a case
ENDS = 20.0  # seconds within which a command has to end
_TERMINATE = 1 << (signal.SIGTERM - 1)


def cases(count: int, rng: random.Random) -> list[Case]:
    """Verb, signal and moment; every verb and every signal is among twelve."""
    found: dict[str, Case] = {}
    while len(found) < count:
        verb, number = VERBS[len(found) % len(VERBS)], SIGNALS[len(found) % len(SIGNALS)]
        real = rng.random() < 0.4
        moment = rng.choice((0.0, rng.random(), rng.random(), rng.uniform(0, 10)))
        step = rng.randint(1, 35) if verb.startswith("distill") and "two" not in verb and not real else None
        when = f"step {step}" if step is not None else f"{moment:.2f} s after its start"
        name = f"{number.name} to {verb}, {'' if real or step is not None else 'forked, '}{when}"
        found[name] = Case(name, _trial(verb, number, moment, step, real=real), LIMIT)
    return list(found.values())


def _trial(
    verb: str, number: signal.Signals, moment: float, step: int | None, *, real: bool
) -> Callable[[World, Path], list[str]]:
    def trial(world: World, scratch: Path) -> list[str]:
        command = _command(verb, world, scratch)
        running = _start(scratch, command, real=real, step=step, number=number)
        if step is None:
            # Before that, Python itself is starting, and none of zskd has been read yet.
            running.until(lambda: _handles(running.pid))
            begun = running.seconds
            running.until(lambda: running.seconds - begun >= moment)
            started = descendants(running.pid)
            running.send(number)
        else:
            started = []
        sent = time.monotonic()
        done = running.wait(LIMIT if step is not None else running.seconds + ENDS)
        found = complaints(done, {0, 128 + number})
        if time.monotonic() - sent > ENDS and step is None:
            found.append(f"took {time.monotonic() - sent:.0f} s to end")
        words = {signal.SIGINT: "interrupted", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
        said = [line for line in done.err.splitlines() if line.startswith("zskd: ")]
        if done.code and (len(said) != 1 or words[number] not in said[0]):
            found.append(f"expected one message about the signal, found {said}")
        if done.code and ("--resume" in "".join(said)) != verb.startswith(("distill", "finetune")):
            found.append(f"expected advice to resume a training, and no other verb, found {said}")
        if done.code and "Error" in done.err:
            found.append(f"expected no word about an error, found {done.err[-300:]}")
        found += [f"still running: {pid}" for pid in started if Path(f"/proc/{pid}").exists()]
        if step is not None and done.code == 0:
            found.append(f"expected an end by the signal of step {step}")
        if step is not None and not (scratch / f"run/checkpoints/checkpoint-{step}/trainer_state.json").is_file():
            found.append(f"expected a checkpoint of step {step}")
        return found + leftovers(scratch) + _afterwards(verb, world, scratch, done.code)

    return trial


def _afterwards(verb: str, world: World, scratch: Path, code: int) -> list[str]:
    """What the interrupted command left, or what comes of resuming it."""
    if verb.startswith("distill"):
        name = "adversarial" if "adversarial" in verb else "random"
        done = start(scratch, *_command(verb, world, scratch), "--resume").wait(LIMIT)
        found = complaints(done, {0})
        return found if "two" in verb or found else world.differences(name, scratch / "run")
    if verb == "finetune":
        whole = ("adapter_model.safetensors", "training.json")
        lacking = [name for name in whole if not (scratch / "teacher" / name).is_file()]
        if (scratch / "teacher").exists() and lacking:
            return [f"expected a whole teacher or none, found no {name}" for name in lacking]
        found = complaints(start(scratch, *_command(verb, world, scratch), "--resume").wait(LIMIT), {0})
        return found + [f"left behind: {path}" for path in scratch.glob(".*.training")]
    if verb == "predict" and code and (scratch / "answers.tsv").exists():
        return ["expected no answers of a command that did not end"]
    return []


def _command(verb: str, world: World, scratch: Path) -> list[object]:
    cache = scratch / "cache"
    if verb.startswith("distill"):
        name = "adversarial" if "adversarial" in verb else "random"
        return world.distill(name, scratch / "run", cache, *(["--num-processes", 2] if "two" in verb else []))
    if verb == "finetune":
        return world.finetune(scratch / "teacher", cache)
    model = ["--model", world.run("random") / "student", "--task", "sst2"]
    if verb == "evaluate":
        return [verb, *model, "--data", world.glue / "SST-2" / "dev.tsv"]
    many = scratch / "lines.txt"
    many.write_text(world.lines.read_text(encoding="utf-8") * 500, encoding="utf-8")
    return [verb, *model, "--input", many, "--output", scratch / "answers.tsv"]


def _start(scratch: Path, command: list[object], *, real: bool, step: int | None, number: int) -> Running:
    """The command as a process of its own: a new Python, or a fork; it signals itself after a step of training."""
    words = [str(word) for word in command]

    def run() -> int:
        if real:
            os.execv(sys.executable, [sys.executable, "-P", "-m", "zskd", *words])
        from transformers import TrainerState

        from zskd.__main__ import main
        from zskd.training.log import EvaluationLog

        def signalled(self: object, args: object, state: TrainerState, control: object, **kwargs: object) -> None:
            if state.global_step == step:
                os.kill(os.getpid(), number)

        mock.patch.object(EvaluationLog, "on_step_end", signalled).start()
        sys.argv = ["zskd", *words]
        return main()

    return start_function(scratch, run)


def _handles(pid: int) -> bool:
    """Whether a process handles SIGTERM."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return True
    (caught,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught & _TERMINATE)
