"""What a run says in the terminal: bars and log lines on standard error, results alone on standard output."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from dataclasses import replace
from pathlib import Path

import pyte
import pytest
from conftest import as_flags

from zskd.config.distillation import DistillConfig

QUICK = {"perturb": "adversarial", "generator_warmup": 2, "student_steps": 5, "generator_steps": 2, "epochs": 1.0}


def test_closing_table_names_what_was_written(cli, tiny_config: DistillConfig) -> None:
    done = cli("distill", *as_flags(replace(tiny_config, epochs=0.5)))
    *_, student, report = done.out.splitlines()
    assert done.code == 0 and "\x1b" not in done.out + done.err
    assert student == f"student: {tiny_config.output_dir}/student" and Path(student.partition(": ")[2]).is_dir()
    assert report == f"report: {tiny_config.output_dir}/report.html" and Path(report.partition(": ")[2]).is_file()


def test_quiet_leaves_the_table_alone(cli, tiny_config: DistillConfig) -> None:
    done = cli("distill", "--quiet", *as_flags(replace(tiny_config, epochs=0.5)))
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].split()[:2] == ["teacher", "student"]


def in_terminal(command: list[str], columns: int) -> tuple[int, str, str]:
    """Exit code and standard output of a command, and what it wrote to a terminal of so many columns."""
    shown, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, columns))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, stdin=subprocess.DEVNULL) as process:
        os.close(terminal)
        assert process.stdout is not None
        seen = b""
        while True:
            try:
                chunk = os.read(shown, 1 << 16)
            except OSError:  # how Linux says that the other end is closed
                break
            if not chunk:
                break
            seen += chunk
        out = process.stdout.read().decode()
    os.close(shown)
    return process.returncode, out, seen.decode()


def bare(text: str) -> str:
    """A text without spaces and numbers."""
    return re.sub(r"[\s\d.,:]+", "", text)


@pytest.mark.parametrize("columns", [80, 120])
def test_bars_come_and_go_and_leave_the_log_as_a_file_has_it(
    columns: int, tiny_config: DistillConfig, tmp_path: Path
) -> None:
    config = replace(tiny_config, **QUICK)

    def command(name: str) -> list[str]:
        own = replace(config, cache_dir=str(tmp_path / name))
        return [sys.executable, "-m", "zskd", "distill", "--json", *as_flags(own)]

    code, out, seen = in_terminal(command("shown"), columns)
    assert code == 0, seen
    assert out == (Path(str(config.output_dir)) / "metrics.json").read_text(encoding="utf-8")
    assert json.loads(out)["task"] == "sst2"
    bars = {"shaping transfer": "input", "teacher labels transfer": "text", "teacher answers single tokens": "token"}
    for step, unit in {**bars, "training": "step"}.items():
        found = re.search(rf"{step}: +\d+%.*?(\d+)/(\d+) \[(.*?)\]", seen)
        assert found and f" {unit}" in found[3] and "<" in found[3], step
    assert re.search(r"training: .*?/2 \[", seen) and re.search(r"training: .*?/20 \[", seen)  # the generator's too
    assert "Writing model shards" not in seen and "Loading weights" not in seen
    assert "\x1b[A" not in seen  # one bar at a time
    # Nothing of a bar stays, and no line was written over another: the screen shows what a log file has.
    screen = pyte.Screen(columns, 400)
    pyte.Stream(screen).feed(seen)
    shutil.rmtree(str(config.output_dir))
    logged = subprocess.run(command("logged"), capture_output=True, text=True, check=True).stderr
    assert "\x1b" not in logged and "\r" not in logged and "%|" not in logged
    shown = bare("".join(screen.display))
    assert [line for line in logged.splitlines() if bare(line) not in shown] == []
    assert "%|" not in shown and "it/s" not in shown


@pytest.mark.parametrize("tracker", ["tensorboard"])
def test_a_tracker_gets_what_trainer_logs(
    cli, tiny_config: DistillConfig, tmp_path: Path, monkeypatch, tracker
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    done = cli("distill", *as_flags(replace(tiny_config, epochs=1.0, logging_steps=5), report_to=tracker))
    assert done.code == 0, done.err
    events = accumulator.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert {"train/loss", "eval/agreement"} <= set(events.Tags()["scalars"])
    history = json.loads((Path(str(tiny_config.output_dir)) / "history.json").read_text())
    logged = [(entry["step"], entry["eval_agreement"]) for entry in history if "eval_agreement" in entry]
    found = [(event.step, event.value) for event in events.Scalars("eval/agreement")]
    assert [step for step, _ in found] == [step for step, _ in logged]
    assert [value for _, value in found] == pytest.approx([value for _, value in logged])
