"""What trackers keep of a training: `make test-neighbours`, which installs them beside this environment's packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.neighbours
ROOT = Path(__file__).parent.parent
ENVIRONMENT = Path("runs/trackers")
# trackio wants an older Pillow than matplotlib's here: the environment has its own, and everything else from this one.
PACKAGES = ("wandb==0.31.0", "mlflow-skinny==3.17.2", "trackio==0.43.0")
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with the trackers and the packages of this one."""
    path = (ENVIRONMENT / "bin" / "python").absolute()
    if not (done := ENVIRONMENT / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        (site,) = ENVIRONMENT.glob("lib/python3*/site-packages")
        below = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        (site / "below.pth").write_text(below, encoding="utf-8")
        subprocess.run([path, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
        done.touch()
    return path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables with which every tracker keeps its runs below one folder and needs no network."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "MLFLOW_TRACKING_URI": f"file:{tmp_path / 'mlruns'}",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
    }


@pytest.fixture
def run(python: Path, environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """`tests/tracker_programs.py` in that environment, with what starts it; the last line that it prints, read."""

    def run(verb: str, tracker: str, *launcher: str) -> Any:
        program = [*(launcher or (str(python),)), str(ROOT / "tests" / "tracker_programs.py")]
        done = subprocess.run(
            [*program, verb, tracker, str(tmp_path)], env=environment, cwd=tmp_path, capture_output=True, text=True,
            check=False, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith("[")))

    return run


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_keeps_what_trainer_logs_and_the_options(run: Callable[..., Any], tracker: str) -> None:
    processes, logged = run("train", tracker)
    assert processes == 1 and [step for step, _ in logged] == [2, 4]
    assert run("read", tracker) == [{"agreement": logged, "temperature": 3.0}]


@pytest.mark.parametrize("tracker", TRACKERS)
def test_each_trial_of_a_search_is_a_run_of_its_own(run: Callable[..., Any], tracker: str) -> None:
    temperature, name = run("search", tracker)
    kept = run("read", tracker)
    assert len(kept) == 2 and name == "tiny" and temperature in [one["temperature"] for one in kept]
    assert len({one["temperature"] for one in kept}) == 2
    assert all([step for step, _ in one["agreement"]] == [2, 4] for one in kept)


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# On CPUs too: without --multi_gpu it starts one process.
ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize(
    "launcher", [TORCHRUN, (*ACCELERATE, "--main_process_port", "0")], ids=["torchrun", "accelerate"]
)
def test_of_two_processes_one_reports(
    launcher: tuple[str, ...], tracker: str, run: Callable[..., Any], python: Path
) -> None:
    processes, logged = run("train", tracker, str(python), *launcher)
    assert processes == 2 and run("read", tracker) == [{"agreement": logged, "temperature": 3.0}]


@pytest.mark.parametrize("tracker", TRACKERS[1:])
def test_the_command_reports_too(
    tracker: str, python: Path, run: Callable[..., Any], environment: dict[str, str], tmp_path: Path,
    teacher_folder: Path, corpus_file: Path,
) -> None:  # fmt: skip
    small = "--pool-size 320 --heldout 32 --batch-size 32 --epochs 1 --checkpoints 2 --compression 2 --temperature 3"
    done = subprocess.run(
        [
            python, "-m", "zskd", "distill", "--task", "sst2", "--config", "embedded", "--teacher", str(teacher_folder),
            "--corpus", str(corpus_file), "--output-dir", "run", "--cache-dir", "cache", "--report-to", tracker,
            *small.split(),
        ],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    history = json.loads((tmp_path / "run" / "history.json").read_text(encoding="utf-8"))
    logged = [[entry["step"], entry["eval_agreement"]] for entry in history if "eval_agreement" in entry]
    assert run("read", tracker) == [{"agreement": logged, "temperature": 3.0}] and len(logged) >= 2
