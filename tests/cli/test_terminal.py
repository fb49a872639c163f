"""What a run says in the terminal: bars and log lines on standard error, results alone on standard output."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import termios
from dataclasses import replace
from pathlib import Path

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


def test_json_is_the_metrics_and_nothing_else_also_where_bars_are_shown(
    tiny_config: DistillConfig, tmp_path: Path
) -> None:
    config = replace(tiny_config, cache_dir=str(tmp_path / "cache"), **QUICK)
    command = [sys.executable, "-m", "zskd", "distill", "--json", *as_flags(config)]
    shown, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
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
    assert process.returncode == 0, seen.decode()
    assert out == (Path(str(config.output_dir)) / "metrics.json").read_text(encoding="utf-8")
    assert json.loads(out)["task"] == "sst2"
    bars = seen.decode()
    for step in ("shaping transfer", "teacher labels transfer", "teacher answers single tokens"):
        assert re.search(rf"{step}: +\d+%", bars), step
    assert "reading " in bars
    # Trainer's bars: two steps of warm-up, then the student's, with the expected end.
    assert re.search(r"2/2 \[", bars) and re.search(r"\d+/20 \[\d\d:\d\d<", bars)


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
