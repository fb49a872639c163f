"""Ctrl-C, SIGTERM and SIGHUP end a process with their exit code, whatever its libraries make of the exception."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zskd.system import interrupts


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def ended(function: Callable[[], object], *, ignored: int | None = None) -> int:
    """Exit code of a process that handles signals and runs a function; 0 where that returns."""
    child = os.fork()
    if not child:
        code = 70
        try:
            if ignored is not None:
                signal.signal(ignored, signal.SIG_IGN)
            interrupts.install(resumable=False)
            with interrupts.told_apart():
                function()
            code = 0
        except interrupts.Interrupted as error:
            code = error.exit_code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_has_the_exit_code_that_a_shell_knows(number: int, code: int) -> None:
    def turned_into_an_error() -> None:
        try:
            send(number)
        except KeyboardInterrupt:
            raise ImportError("a library's own words") from None

    def swallowed() -> None:
        with contextlib.suppress(BaseException):
            send(number)

    assert ended(lambda: send(number)) == ended(turned_into_an_error) == ended(swallowed) == code


def test_a_library_that_goes_on_is_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_AGAIN", 0.05)

    def stubborn() -> None:
        try:
            send(signal.SIGTERM)
        except BaseException:
            time.sleep(30)
        os._exit(71)

    started = time.monotonic()
    assert ended(stubborn) == 143 and time.monotonic() - started < 10


def test_an_ignored_signal_stays_ignored() -> None:
    """As SIGHUP is under nohup, and SIGINT in what a script starts in the background."""
    for number in (signal.SIGHUP, signal.SIGINT):
        assert ended(lambda number=number: send(number), ignored=number) == 0
    assert ended(lambda: send(signal.SIGTERM), ignored=signal.SIGHUP) == 143


def test_a_step_may_end_first_if_it_takes_no_longer_than_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(seconds: float, grace: float | None) -> None:
        with interrupts.put_off(grace):
            send(signal.SIGTERM)
            assert interrupts.came() == signal.SIGTERM
            time.sleep(seconds)
            os.write(report, b"ended")
        os._exit(71)

    monkeypatch.setattr(interrupts, "GRACE", 0.3)
    for seconds, grace, said in ((0.0, None, b"ended"), (30.0, None, b""), (0.4, 30.0, b"ended")):
        read, report = os.pipe()
        assert ended(lambda seconds=seconds, grace=grace: step(seconds, grace)) == 143
        os.close(report)
        assert os.read(read, 100) == said
        os.close(read)


def test_a_second_ctrl_c_ends_at_once_and_a_repeated_sigterm_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_SAME", 0.0)

    def twice(number: int) -> None:
        with interrupts.put_off():
            send(number)
            send(number)
            os.write(report, b"went on")

    for number, code, said in ((signal.SIGINT, 130, b""), (signal.SIGTERM, 143, b"went on")):
        read, report = os.pipe()
        assert ended(lambda number=number: twice(number)) == code
        os.close(report)
        assert os.read(read, 100) == said
        os.close(read)


def test_a_program_that_uses_zskd_keeps_its_handlers() -> None:
    code = "import signal, zskd, zskd.cli; print([signal.getsignal(n) for n in (2, 15, 1)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("SIG_DFL") == 2 and "default_int_handler" in done.stdout


@pytest.mark.parametrize(
    ("number", "verb", "code", "words"),
    [
        (signal.SIGINT, "distill", 130, "zskd: interrupted; repeat the command with --resume to continue\n"),
        (signal.SIGTERM, "predict", 143, "zskd: ended by SIGTERM\n"),
        (signal.SIGHUP, "evaluate", 129, "zskd: ended by SIGHUP, as the terminal was closed\n"),
    ],
)
def test_a_command_that_is_still_importing_says_one_line(
    number: int, verb: str, code: int, words: str, tmp_path: Path
) -> None:
    # Stands for a module that turns an interrupted import into something else, or aborts.
    (tmp_path / "yaml.py").write_text(
        f"import os\ntry:\n    os.kill(os.getpid(), {int(number)})\nfinally:\n    os.abort()\n", encoding="utf-8"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-m", "zskd", verb]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr, done.stdout) == (code, words, "")


def test_advice_to_resume_is_of_the_verbs_that_can() -> None:
    resumable = [
        verb for verb in ("distill", "finetune", "predict", "publish") if interrupts.is_resumable([verb, "-x"])
    ]
    assert resumable == ["distill", "finetune"] and not interrupts.is_resumable([])
