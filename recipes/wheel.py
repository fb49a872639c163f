"""The built wheel alone, in an environment and a folder of its own: every verb does its work.

make test-wheel
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
SMALL = ("--config", "embedded", "--corpus-fraction", "0.02", "--heldout", "200", "--checkpoints", "2")
# Verb and arguments; `{run}` is the folder of the run, `{lines}` a file of texts.
COMMANDS = (
    "ls",
    "config --task sst2 --config embedded",
    "validate --task sst2 --config embedded",
    "distill --task sst2 --dry-run " + " ".join(SMALL),
    "distill --task sst2 --output-dir {run} " + " ".join(SMALL),
    "evaluate --model {run} --data probe",
    "predict --model {run} --input {lines}",
    "report {run}",
    "export {run} --quantize int8",
    "publish {run} --repo-id me/mine --onnx --dry-run",
    "diagnose {run} --texts 256",
    "finetune --task sst2 --glue-dir . --max-rows 64 --epochs 1 --checkpoints 1 --selection-rows 16 --output-dir tuned",
    "pretrain --steps 4 --checkpoints 1 --output-dir start " + " ".join(SMALL[2:4]),
)


def main() -> int:
    """Build, install and try; the exit code is 1 if a command fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = _build(folder)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {len(zipfile.ZipFile(wheel).namelist())} files")
        programs = install(f"{wheel}[onnx]", folder / "env")
        works = every_verb_works(programs / "zskd", folder / "empty")
    return 0 if works else 1


def every_verb_works(program: Path, empty: Path) -> bool:
    """Try every verb of an installed `zskd` in a new folder, and print what works."""
    empty.mkdir()
    (empty / "lines.txt").write_text("a warm, funny and moving film\ndull from beginning to end\n", encoding="utf-8")
    shutil.copy(ROOT / "zskd" / "assets" / "probes" / "sst2.tsv", empty / "train.tsv")  # rows to train on
    working = sum([_works(program, command, empty) for command in COMMANDS])
    print(f"{working} of {len(COMMANDS)} commands work", flush=True)
    return working == len(COMMANDS)


def _build(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("zskd-*.whl")
    return wheel


def install(package: str, environment: Path) -> Path:
    """Make an environment with a package, in the tested versions.

    Returns:
        The folder of its programs.
    """
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    programs = environment / "bin"
    pip_install(programs, f"torch=={version('torch').partition('+')[0]}")
    pip_install(programs, package)
    return programs


def pip_install(programs: Path, *arguments: str) -> None:
    """Install into the environment that has these programs."""
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), *arguments], check=True)


def _works(program: Path, command: str, folder: Path) -> bool:
    words = command.format(run="run", lines="lines.txt").split()
    began = time.monotonic()
    done = subprocess.run([str(program), *words], cwd=folder, capture_output=True, text=True, check=False)
    print(
        f"{'works' if done.returncode == 0 else 'FAILS':6}{time.monotonic() - began:>6.1f} s  zskd {command}",
        flush=True,
    )
    if done.returncode != 0:
        print(done.stdout + done.stderr)
    if words[0] == "distill" and "--dry-run" not in words and done.returncode == 0:
        print(f"        {json.loads((folder / 'run' / 'metrics.json').read_text())['agreement']:.3f} agreement")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
