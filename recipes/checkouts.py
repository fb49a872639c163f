"""Versions of zskd checked out beside each other, and their command line: run to the end, or killed on the way.

Nothing here imports zskd, whose modules move between versions. It needs git and Linux.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 300.0  # seconds of one run
ATTEMPTS = 3  # at killing a run before it is finished
PAUSE = 0.02  # seconds from that checkpoint on, so that the next steps have begun
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


class RunFailed(Exception):
    """A run that ended badly, or could not be killed in time."""


@dataclass(frozen=True)
class Version:
    """A version of zskd: what it is called here, its commit, and the folder it is checked out in."""

    name: str
    commit: str
    folder: Path

    def python(self, *arguments: str, log: Path) -> subprocess.Popen[str]:
        """Start Python where this version is the one that is imported; standard error goes to `log`."""
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(self.folder)}
        command = [sys.executable, *arguments]
        with log.open("w", encoding="utf-8") as errors:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )


def git(*arguments: str) -> str:
    """Output of a git command in this repository."""
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@contextlib.contextmanager
def checked_out(name: str, revision: str, parent: Path) -> Iterator[Version]:
    """A revision in a worktree below `parent`, which is removed again.

    Raises:
        RunFailed: another zskd is imported there.
        subprocess.CalledProcessError: git does not know the revision.
    """
    commit, folder = git("rev-parse", "--verify", f"{revision}^{{commit}}"), parent / name
    git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    try:
        packaged = folder / "zskd" / "configs"
        if (folder / "configs").is_dir() and not packaged.exists():  # an installation maps it there (setup.cfg)
            packaged.symlink_to(folder / "configs", target_is_directory=True)
        version = Version(name, commit, folder)
        log = parent / f"{name}.log"
        process = version.python("-c", "import zskd, zskd.configs as c; print(zskd.__file__, c.__file__)", log=log)
        found = process.communicate()[0].split()
        if process.returncode or not all(Path(file).is_relative_to(folder) for file in found):
            raise RunFailed(f"{name}: expected zskd and zskd.configs of the checkout, found {found} {end_of(log)}")
        yield version
    finally:
        git("worktree", "remove", "--force", str(folder))


def distil(version: Version, flags: list[str], run: Path, *more: str) -> str:
    """``zskd distill`` to the end; returns standard output.

    Raises:
        RunFailed: it ended with another exit code than 0.
    """
    log = run.with_suffix(".log")
    process = version.python("-m", "zskd", "distill", *flags, "--output-dir", str(run), *more, log=log)
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except BaseException:
        kill(process)
        raise
    if process.returncode:
        raise RunFailed(f"{run.name} by {version.name}: exit code {process.returncode}: {end_of(log)}")
    return output


def distil_and_kill(version: Version, flags: list[str], run: Path, processes: int) -> None:
    """``zskd distill``, killed when all its processes have written a checkpoint of at least half of its steps.

    Raises:
        RunFailed: it ended badly or, each time, by itself before it was killed.
    """
    log = run.with_suffix(".log")
    for _ in range(ATTEMPTS):
        process = version.python("-m", "zskd", "distill", *flags, "--output-dir", str(run), log=log)
        started = time.monotonic()
        try:
            while process.poll() is None and share_behind(run, processes) < 0.5 and time.monotonic() - started < LIMIT:
                time.sleep(0.002)
            time.sleep(PAUSE)
        finally:
            kill(process)
        if process.returncode > 0 or share_behind(run, processes) < 0.5:
            raise RunFailed(f"{run.name} by {version.name}: exit code {process.returncode}: {end_of(log)}")
        if not (run / "student").exists():
            return
        shutil.rmtree(run)
    raise RunFailed(f"{run.name} by {version.name}: {ATTEMPTS} times finished before it could be killed")


def share_behind(run: Path, processes: int) -> float:
    """The share of its steps that a run's newest whole checkpoint has behind it; 0 where there is none.

    The first process writes ``trainer_state.json`` last; the others write their random state when they get to it.
    """
    shares = [0.0]
    for folder in run.glob("checkpoints/checkpoint-*"):
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # removed, or half written
            state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
            if len(list(folder.glob("rng_state*.pth"))) == processes:
                shares.append(state["global_step"] / state["max_steps"])
    return max(shares)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a process and all that it started, and the wait until they have ended.

    torch's launcher gives each worker a session of its own, so no group of processes covers them.

    Raises:
        RunFailed: one of them still runs after a minute.
    """
    numbers = [*descendants(process.pid), process.pid] if process.poll() is None else []
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.communicate()
    # A signal is delivered when the kernel next runs the process, which takes a while where all cores are busy.
    until = time.monotonic() + 60
    while running := [number for number in numbers if not ended(number)]:
        if time.monotonic() > until:
            raise RunFailed(f"expected processes {running} to end on SIGKILL, found them running after 60 s")
        time.sleep(PAUSE)


def ended(process: int) -> bool:
    """True where no process has this number, or only its exit status is left (`proc_pid_stat(5)`: Z, X)."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] in "ZX"


def descendants(process: int) -> list[int]:
    """Processes that a process started, and those that they started."""
    found = []
    for path in Path("/proc").glob(f"{process}/task/*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            for child in map(int, path.read_text().split()):
                found += [child, *descendants(child)]
    return found


def end_of(log: Path) -> str:
    """The last two lines of a log, without the folder of the runs and that of Python."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " / ".join(lines[-2:]).replace(str(log.parents[1]), "...").replace(sys.prefix, "...")
