"""Commands of zskd in processes that are forked from this one, which has the libraries loaded: a start takes no time.

Whoever forks has to have one thread and must not have computed anything with torch or tokenizers, whose threads a fork
does not take along. `recipes.faults.forks` keeps to that: the campaign itself only forks, and every case is a process
of its own, which starts commands.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from recipes.checkouts import descendants

LIMIT = 60.0  # seconds of a command
PAUSE = 0.005  # seconds between two looks at a process
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "",
}


@dataclass(frozen=True)
class Done:
    """How a command ended.

    Attributes:
        code: exit code; -N where signal N ended the process, also the campaign's own where it hung.
        hung: it was still running at its limit, and was killed.
    """

    code: int
    out: str
    err: str
    seconds: float
    hung: bool = False


class Running:
    """A command that runs. Its output goes to files, which `out` and `err` read at any time."""

    def __init__(self, pid: int, out: Path, err: Path) -> None:
        self.pid, self.started = pid, time.monotonic()
        self._out, self._err = out, err
        self._status: int | None = None

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    def ended(self) -> bool:
        """Whether it has ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = status
        return self._status is not None

    def send(self, number: int, *, all_processes: bool = False) -> None:
        """Send a signal to it, or also to all processes that it started."""
        if self.ended():
            return
        for pid in [*(descendants(self.pid) if all_processes else []), self.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """SIGKILL to it and to all that it started, and the wait for its end."""
        self.send(signal.SIGKILL, all_processes=True)
        while not self.ended():
            time.sleep(PAUSE)

    def until(self, moment: Callable[[], bool], limit: float = LIMIT) -> bool:
        """Wait for a moment; False where the command ended, or `limit` seconds passed since its start, before it."""
        while not moment():
            if self.ended() or self.seconds > limit:
                return False
            time.sleep(PAUSE)
        return True

    def wait(self, limit: float = LIMIT) -> Done:
        """Wait for its end, at most until `limit` seconds after its start; then it is killed."""
        hung = not self.until(self.ended, limit) and not self.ended()
        seconds = self.seconds
        if hung:
            self.kill()
        assert self._status is not None
        return Done(os.waitstatus_to_exitcode(self._status), self.out(), self.err(), seconds, hung)

    def out(self) -> str:
        """Standard output until now."""
        return self._out.read_text(encoding="utf-8", errors="replace")

    def err(self) -> str:
        """Standard error until now."""
        return self._err.read_text(encoding="utf-8", errors="replace")


def start(
    scratch: Path,
    *arguments: object,
    folder: Path | None = None,
    stdin: bytes | None = b"",
    closed: tuple[int, ...] = (),
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
) -> Running:
    """Start ``zskd ARGUMENTS``.

    Args:
        scratch: where the files of its output go (a folder ``.commands``).
        folder: its working folder; default: `scratch`.
        stdin: what it reads on standard input; None for a closed one.
        closed: file descriptors that are closed for it, such as 1 for standard output.
        environment: variables beside `ENVIRONMENT`; those that a library reads when it is imported come too late.
        prepare: called in the new process before the command, for limits, users and mounts.
    """

    def command() -> int:
        from zskd.cli import main

        os.environ.update({**ENVIRONMENT, **(environment or {})})
        if prepare is not None:
            prepare()
        return main([str(argument) for argument in arguments])

    return start_function(scratch, command, folder=folder, stdin=stdin, closed=closed)


def start_function(
    scratch: Path,
    function: Callable[[], int],
    *,
    folder: Path | None = None,
    stdin: bytes | None = b"",
    closed: tuple[int, ...] = (),
) -> Running:
    """Start a function in a process of its own, whose exit code it returns; see `start`."""
    files = scratch / ".commands"
    files.mkdir(parents=True, exist_ok=True)
    number = len(list(files.glob("*.err")))
    given, out, err = (files / f"{number:03}.{kind}" for kind in ("in", "out", "err"))
    given.write_bytes(stdin or b"")
    for path in (out, err):
        path.write_bytes(b"")
    pid = os.fork()
    if pid:
        return Running(pid, out, err)
    _become(function, folder or scratch, (given, out, err), (*closed, *((0,) if stdin is None else ())))


def run(scratch: Path, *arguments: object, limit: float = LIMIT, **how: Any) -> Done:
    """Run ``zskd ARGUMENTS`` to its end; `how` as for `start`."""
    return start(scratch, *arguments, **how).wait(limit)


def _become(
    function: Callable[[], int], folder: Path, files: tuple[Path, Path, Path], closed: tuple[int, ...]
) -> NoReturn:
    """Be a process of its own as Python starts one, run `function`, and end."""
    code = 70
    try:
        os.setsid()
        for descriptor, path in enumerate(files):
            flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_APPEND
            handle = os.open(path, flags)
            os.dup2(handle, descriptor)
            os.close(handle)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        streams = [None if descriptor in closed else _stream(descriptor) for descriptor in range(3)]
        for descriptor in closed:
            os.close(descriptor)
        sys.stdin, sys.stdout, sys.stderr = streams
        os.chdir(folder)
        sys.argv = ["zskd"]
        code = _code_of(function)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _code_of(function: Callable[[], int]) -> int:
    """The exit code with which Python would end."""
    try:
        code = function()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                code = code or 120  # as Python's own
    return code


def _stream(descriptor: int) -> IO[Any]:
    """A standard stream on a descriptor, as Python makes it for a pipe or a file."""
    mode, buffering = ("r" if descriptor == 0 else "w"), (1 if descriptor == 2 else -1)
    errors = "backslashreplace" if descriptor == 2 else "strict"
    return os.fdopen(descriptor, mode, buffering, encoding="utf-8", errors=errors, closefd=False)
