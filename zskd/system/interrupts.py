"""Ends by signal: Ctrl-C (SIGINT), SIGTERM, which schedulers send before they kill, SIGHUP, when a terminal closes.

Only the command line installs handlers (`zskd.__main__`); a program that uses zskd as a library keeps its own. A signal
raises `Interrupted` in the main thread, and again every second while a library swallows it. Training puts that off
until its step has ended, for at most `GRACE` seconds (`LONG_GRACE` in `zskd finetune`), so that it can write a
checkpoint (`zskd.training.stop`). While modules are imported the process ends at once: an exception there aborts some
compiled modules, and is swallowed by others.

This module is imported before all others, and imports nothing that takes time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

GRACE = 5.0  # seconds that training has to end its step and write a checkpoint
# For a model of base size: on two cores a step takes 8 seconds, and a checkpoint of all weights has 1.3 GB. Schedulers
# wait 30 seconds before they kill.
LONG_GRACE = 25.0
_RESUMABLE = ("distill", "finetune", "pretrain")  # verbs with --resume
LAUNCHED = (
    "ZSKD_LAUNCHED"  # variable in a process that `zskd.cli.launch` started: the launcher's process and its folder
)

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 1.0
_SAME = 0.5  # seconds within which a second signal is the first one, sent to the process and to its group
_WORDS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "ended by SIGTERM",
    signal.SIGHUP: "ended by SIGHUP, as the terminal was closed",
    signal.SIGQUIT: "ended by SIGQUIT",
}


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end.

    Attributes:
        signum: the signal.
    """

    def __init__(self, signum: int = signal.SIGINT) -> None:
        super().__init__()
        self.signum = signal.Signals(signum)

    @property
    def exit_code(self) -> int:
        """What a shell reports for a process that the signal ended."""
        return 128 + self.signum

    def __str__(self) -> str:
        return _WORDS[self.signum]


@dataclass
class _State:
    process: int = 0  # that installed the handlers; forked ones inherit them
    came: int | None = None
    at: float = 0.0
    put_off: bool = False  # until the end of a step
    grace: float = GRACE
    insist: bool = True
    resumable: bool = False


_state = _State()


def is_resumable(words: Sequence[str]) -> bool:
    """Whether a command, without the program's name, has ``--resume`` and starts something."""
    return bool(words) and words[0] in _RESUMABLE and "--dry-run" not in words


def install(*, resumable: bool) -> None:
    """Handle the signals from now on. Those that are ignored stay so: SIGHUP under ``nohup``, SIGINT behind a ``&``.

    Args:
        resumable: whether the command has ``--resume``, for the message.
    """
    _state.process, _state.resumable = os.getpid(), resumable
    signal.signal(signal.SIGALRM, _raise)
    for signum in _ENDING:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _handle)
    before = sys.unraisablehook

    def unraisable(found: Any) -> None:
        if _state.came is None:  # else a finalizer was interrupted, which is nobody's fault
            before(found)

    sys.unraisablehook = unraisable


def leave() -> None:
    """Let a further signal end the process at once and without words; called when the command has ended."""
    if _state.process == os.getpid():
        signal.setitimer(signal.ITIMER_REAL, 0)
        for signum in _ENDING:
            if signal.getsignal(signum) is _handle:
                signal.signal(signum, signal.SIG_DFL)


def say(error: Interrupted, *, resumable: bool) -> None:
    """Say on standard error that a signal ended the command."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):  # the terminal may be gone
            sys.stderr.write(_message(error, resumable=resumable))
            sys.stderr.flush()


def _message(error: Interrupted, *, resumable: bool) -> str:
    """One line; nothing where the launcher says it, or the first of several processes."""
    if launcher() is not None or os.environ.get("RANK", "0") != "0":
        return ""
    return f"zskd: {error}{'; repeat the command with --resume to continue' if resumable else ''}\n"


def _end_at_once(error: Interrupted, text: str) -> NoReturn:
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, text.encode())  # a handler must not write to a stream, which it may have interrupted
    os._exit(error.exit_code)


def came() -> int | None:
    """The signal that asked this process to end; None if none did, or if nobody installed the handlers."""
    return _state.came


def _handle(signum: int, frame: FrameType | None) -> None:
    if os.getpid() != _state.process:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
        return
    if _state.came is not None:
        # Only a person presses twice. Schedulers and `timeout` repeat themselves, and so may a launcher.
        if signum == signal.SIGINT and launcher() is None and time.monotonic() - _state.at > _SAME:
            _end_at_once(Interrupted(signum), "zskd: interrupted twice, ended at once\n")
        return
    _state.came, _state.at = signum, time.monotonic()
    if _state.put_off or _state.insist:
        signal.setitimer(signal.ITIMER_REAL, _state.grace if _state.put_off else _AGAIN, _AGAIN)
    if not _state.put_off:
        _raise(signum, frame)


def _raise(signum: int, frame: FrameType | None) -> None:
    if _state.came is None or os.getpid() != _state.process:
        return
    error = Interrupted(_state.came)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _end_at_once(error, _message(error, resumable=_state.resumable))
        frame = frame.f_back
    raise error


@contextlib.contextmanager
def put_off(grace: float | None = None) -> Iterator[None]:
    """In the block a signal is only noted (`came`); it is raised a while later, or at the end of the block.

    Args:
        grace: seconds; default `GRACE`.
    """
    _state.put_off, _state.grace = True, GRACE if grace is None else grace
    try:
        yield
    finally:
        _state.put_off = False
    if _state.came is not None:
        raise Interrupted(_state.came)


@contextlib.contextmanager
def once() -> Iterator[None]:
    """In the block a signal is raised once, as what follows takes care that all ends and must not be disturbed."""
    _state.insist = False
    try:
        yield
    finally:
        _state.insist = True


@contextlib.contextmanager
def told_apart() -> Iterator[None]:
    """Whatever ends the block after a signal came is `Interrupted`: libraries turn it into errors, or swallow it."""
    try:
        yield
    except Exception as error:
        if _state.came is not None:
            raise Interrupted(_state.came) from error
        raise
    finally:
        if _state.came is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
    if _state.came is not None:
        raise Interrupted(_state.came)


def launcher() -> tuple[int, Path] | None:
    """Process and folder of the launcher; None in a process that `zskd.cli.launch` did not start."""
    process, _, folder = os.environ.get(LAUNCHED, "").partition(":")
    return (int(process), Path(folder)) if process and int(process) != os.getpid() else None


def die_with_launcher() -> None:
    """In a process that the launcher started: end at once when that is killed, and write no further (Linux)."""
    started = launcher()
    if started is None:
        return
    import ctypes

    with contextlib.suppress(AttributeError):  # another system
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG
    if os.getppid() != started[0]:
        os._exit(1)
