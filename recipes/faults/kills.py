"""Kills: SIGKILL at a drawn moment, often several in a row; ``--resume`` has to end as if nothing had happened.

A moment is a share of the time that the undisturbed run takes, or a step of its work on files: the process kills itself
right before its n-th call of some kind (open, rename, remove, make a folder) on a path of some kind. Where there are
several processes, a moment is a share of the time or the appearance of a file, and which one is killed is drawn too;
their students are not compared, only that the resumed run finishes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recipes.checkouts import descendants
from recipes.faults.case import Case, complaints, leftovers
from recipes.faults.commands import Done, Running, start
from recipes.faults.world import World

SEVERAL = 6  # of the cases have two processes
LIMIT, LIMIT_SEVERAL = 120.0, 300.0  # seconds of a case

# What Python tells an audit hook about files: event -> which of its arguments are paths.
_CALLS = {
    "open": (0,),
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.link": (0, 1),
    "shutil.rmtree": (0,),
    "os.scandir": (0,),
}
# Parts of a path, of the run folder and of the cache; "" is any path of both.
_RUN = (
    "", ".part", "run/", "config.yaml", "record.json", "transfer_set.json", "calls.json", "/_cache", "checkpoint",
    "trainer_state.json", "so_far.json", "optimizer.pt", "rng_state", "student", "history.json", "analysis.json",
    "metrics.json", "report.html",
)  # fmt: skip
_CACHE = ("cache/", "corpora", "pools", "labels", "words", ".arrow", ".safetensors", "generators", ".part/")
_APPEAR = (
    "run", "run/config.yaml", "run/record.json", "run/_cache/*.arrow", "run/checkpoints/*/model.safetensors",
    "run/checkpoints/*/optimizer.pt", "run/checkpoints/*/trainer_state.json", "run/checkpoints/*/rng_state_1.pth",
    "run/.*.part", "run/student", "run/history.json", "run/analysis.json", "run/metrics.json", "run/report.html",
    "cache/*/.*.part", "cache/labels/*/*.arrow", ".*.part",
)  # fmt: skip


@dataclass(frozen=True)
class Kill:
    """When a command is killed, and which of its processes.

    Attributes:
        share: of the time of an undisturbed run; None for a moment of another kind.
        paths: part of a path; with several processes a pattern of one that has to appear.
        call: an audit event, "" for any.
        number: of the call, modulo how many there are.
        victim: "all", "launcher", or the number of one of several processes.
    """

    share: float | None
    paths: str = ""
    call: str = ""
    number: int = 0
    victim: str = "all"

    def __str__(self) -> str:
        if self.share is not None:
            moment = f"at {self.share:.3f} of the time"
        elif self.victim != "all" or not self.call:
            moment = f"when {self.paths or 'a file'} appears or is used, {self.number}"
        else:
            moment = f"before {self.call} {self.number} of {self.paths or 'any path'}"
        return moment + (f" ({self.victim})" if self.victim != "all" else "")


def random_cases(count: int, rng: random.Random) -> list[Case]:
    """Kills of a run without a method."""
    return _cases("random", count, rng)


def adversarial_cases(count: int, rng: random.Random) -> list[Case]:
    """Kills of an adversarial run."""
    return _cases("adversarial", count, rng)


def _cases(run: str, count: int, rng: random.Random) -> list[Case]:
    found: dict[str, Case] = {}
    while len(found) < count:
        several = len(found) < SEVERAL
        warm = rng.random() < 0.5
        kills = [_draw(rng, several=several, warm=warm) for _ in range(rng.choices((1, 2, 3), (6, 3, 1))[0])]
        if several:
            kills = kills[:2]
        name = f"{'two processes, ' if several else ''}{'warm' if warm else 'cold'}: {'; '.join(map(str, kills))}"
        found[name] = Case(name, _trial(run, kills, warm=warm, several=several), LIMIT_SEVERAL if several else LIMIT)
    return list(found.values())


def _draw(rng: random.Random, *, several: bool, warm: bool) -> Kill:
    if several:
        victim = rng.choice(("all", "launcher", "0", "1"))
        if rng.random() < 0.4:
            return Kill(rng.random(), victim=victim)
        return Kill(None, rng.choice(_APPEAR), number=rng.randint(1, 3), victim=victim)
    if rng.random() < 0.3:
        return Kill(rng.random())
    paths = rng.choice(_RUN if warm or rng.random() < 0.6 else _CACHE)
    return Kill(None, paths, rng.choice(("", *_CALLS)), rng.randint(1, 400))


def _trial(run: str, kills: list[Kill], *, warm: bool, several: bool) -> Callable[[World, Path], list[str]]:
    def trial(world: World, scratch: Path) -> list[str]:
        cache, output = scratch / "cache", scratch / "run"
        if warm:
            shutil.copytree(world.cache, cache)
        command = world.distill(run, output, cache, *(["--num-processes", 2] if several else []))
        for number, kill in enumerate(kills):
            more = ["--resume"] if number else []
            if several:
                found = _kill_one_of_several(kill, scratch, [*command, *more])
            else:
                found = _kill(kill, scratch, [*command, *more], world.seconds(run, warm=warm))
            if found:
                return found
        done = start(scratch, *command, "--resume").wait(LIMIT_SEVERAL if several else LIMIT)
        found = complaints(done, {0})
        if several:
            # The last bits of a student depend on the number of processes.
            found += [f"{name}: missing" for name in ("student/model.safetensors", "metrics.json", "report.html")
                      if not (output / name).is_file()]  # fmt: skip
        else:
            found += world.differences(run, output)
        marks = [f"left behind: {path}" for path in (output / "_cache", *scratch.glob(".zskd*")) if path.exists()]
        return found + marks + leftovers(scratch)

    return trial


def _kill(kill: Kill, scratch: Path, command: list[object], seconds: float) -> list[str]:
    """Kill a command of one process; complaints where it did not end by that."""
    if (share := kill.share) is not None:
        running = start(scratch, *command)
        running.until(lambda: running.seconds >= share * seconds)
        running.kill()
        return _unless_killed(running.wait())
    # The calls are counted in a copy of what there is, as their number depends on what was done before.
    trace = scratch / "trace.json"
    before = scratch / "before"
    before.mkdir()
    for name in ("run", "cache"):
        if (scratch / name).exists():
            shutil.copytree(scratch / name, before / name, symlinks=True)
    counted = start(scratch, *command, prepare=_hook(kill, scratch, None, trace)).wait()
    if found := complaints(counted, {0}):
        return found
    calls = json.loads(trace.read_text(encoding="utf-8"))
    for name in ("run", "cache"):
        shutil.rmtree(scratch / name, ignore_errors=True)
        if (before / name).exists():
            (before / name).rename(scratch / name)
    shutil.rmtree(before)
    trace.unlink()
    if not calls:  # what is drawn does not happen any more in a run that has come so far
        return []
    return _unless_killed(start(scratch, *command, prepare=_hook(kill, scratch, kill.number % calls, trace)).wait())


def _unless_killed(done: Done) -> list[str]:
    return complaints(done, {0, -signal.SIGKILL})


def _hook(kill: Kill, scratch: Path, die_at: int | None, trace: Path) -> Callable[[], None]:
    """A function that makes a process kill itself before a call, or count its calls into `trace`."""
    inside = (str(scratch / "run"), str(scratch / "cache"), str(scratch / ".run"))

    def prepare() -> None:
        process, calls = os.getpid(), 0
        counter = os.open(trace, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal calls
            if event not in _CALLS or kill.call not in ("", event) or os.getpid() != process:
                return
            paths = [os.fspath(path) for index in _CALLS[event] if isinstance(path := arguments[index], str | Path)]
            if not any(str(path).startswith(inside) and kill.paths in str(path)[len(str(scratch)) :] for path in paths):
                return
            if calls == die_at:
                os.kill(process, signal.SIGKILL)
            calls += 1
            os.pwrite(counter, str(calls).encode(), 0)

        os.pwrite(counter, b"0", 0)
        sys.addaudithook(hook)

    return prepare


def _kill_one_of_several(kill: Kill, scratch: Path, command: list[object]) -> list[str]:
    """Kill processes of a command with two, whose launcher must not leave any of them behind."""
    running = start(scratch, *command)
    if (share := kill.share) is not None:
        # Most of the time goes into the start of the processes.
        running.until(lambda: bool(_workers(running)), LIMIT)
        begun = running.seconds
        running.until(lambda: running.seconds - begun >= share * 3 * max(begun, 3.0), LIMIT)
    else:
        running.until(lambda: len(list(scratch.glob(kill.paths))) >= kill.number or _one(kill, scratch), LIMIT)
    workers = _workers(running)
    if kill.victim in ("all", "launcher") or len(workers) < 2:
        running.send(signal.SIGKILL, all_processes=kill.victim != "launcher")
    else:
        os.kill(workers[int(kill.victim)], signal.SIGKILL)
    done = running.wait(LIMIT)
    until = time.monotonic() + 5
    while (left := [pid for pid in workers if _writes(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    return complaints(done, {0, 1, -signal.SIGKILL}) + [
        f"a process goes on without its launcher: {pid}" for pid in left
    ]


def _one(kill: Kill, scratch: Path) -> bool:
    """Whether a path of which there is only one is there."""
    return "*" not in kill.paths and (scratch / kill.paths).exists()


def _workers(running: Running) -> list[int]:
    """The processes that were started for zskd, in their order."""
    found = []
    for pid in descendants(running.pid):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"zskd" in words:
            found.append(pid)
    return sorted(found)


def _writes(pid: int) -> bool:
    """Whether a process lives and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
