"""How a process of several starts and ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zskd.cli.launch import launch
from zskd.config.distillation import DistillConfig

# An exit handler that was registered before stands for torch's threads, which abort the process at its very end.
PROCESS = """
import atexit, os, sys
from zskd.cli.launch import end_without_threads
atexit.register(os.abort)
succeed = end_without_threads()
atexit.register(lambda: print("closed"))
if sys.argv[1] == "succeeds":
    succeed()
"""


@pytest.mark.parametrize(("what", "aborts"), [("succeeds", False), ("fails", True)])
def test_only_a_process_that_succeeded_ends_before_threads_abort_it(what: str, aborts: bool) -> None:
    done = subprocess.run([sys.executable, "-c", PROCESS, what], capture_output=True, text=True, check=False)
    assert (done.returncode != 0) is aborts
    assert aborts or done.stdout == "closed\n", "other handlers run first, and what they print is kept"


@pytest.mark.parametrize("safe", [True, False])
def test_processes_import_nothing_from_the_working_folder(
    safe: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without -P, Python finds a file there before the package of the same name."""
    (tmp_path / "yaml.py").write_text("open('ran', 'w').close()\n", encoding="utf-8")
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "torch.distributed.launcher.api.elastic_launch", lambda *_: lambda *words: started.append(words)
    )
    assert launch("distill", DistillConfig(task="sst2"), 2) == 0
    ((*before, verb, _, _),) = started
    assert verb == "distill"
    command = [sys.executable, *(word for word in before if safe or word != "-P"), "validate", "--task", "sst2"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, env=environment)
    assert (tmp_path / "ran").exists() is not safe
