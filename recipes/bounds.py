"""The lowest or the latest versions that setup.cfg admits, in an environment of their own: every verb, then the tests.

make test-lowest
make test-latest
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from recipes.wheel import ROOT, every_verb_works

# Only the packages that setup.cfg names are taken at their lowest; theirs are the latest that fit.
RESOLUTIONS = {"lowest": "lowest-direct", "latest": "highest"}
PYTEST = ("--numprocesses", "auto", "--maxprocesses", "8", "--dist", "worksteal")


def main() -> int:
    """Install, list the versions and try; the exit code is 1 if a verb or a test fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", choices=RESOLUTIONS)
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment")
    parser.add_argument("tests", nargs="*", help="files and folders of tests (default: all)")
    arguments = parser.parse_intermixed_args()
    environment = ROOT / "runs" / arguments.versions
    programs = install(environment, RESOLUTIONS[arguments.versions], arguments.python)
    with tempfile.TemporaryDirectory() as folder:
        works = every_verb_works(programs / "zskd", Path(folder) / "empty")
    passes = tests_pass(programs, ROOT, arguments.tests)
    return 0 if works and passes else 1


def tests_pass(programs: Path, folder: Path, tests: Sequence[str]) -> bool:
    """Run tests of a source folder in an environment: a process per core, each with one thread.

    With more, they would wait for each other.
    """
    command = [str(programs / "python"), "-m", "pytest", *PYTEST, *tests]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    return done.returncode == 0


def install(environment: Path, resolution: str, python: str) -> Path:
    """Make an environment with this checkout and the extra `dev`, and list its versions beside it.

    Returns:
        The folder of its programs.
    """
    uv = [sys.executable, "-m", "uv"]
    programs = environment / "bin"
    # With pip, by which zskd fetches backbones.
    subprocess.run([*uv, "venv", "--quiet", "--seed", "--clear", "--python", python, str(environment)], check=True)
    into = ["--python", str(programs / "python")]
    subprocess.run(
        [*uv, "pip", "install", "--quiet", *into, "--resolution", resolution, "--editable", f"{ROOT}[dev]"], check=True
    )
    listed = subprocess.run([*uv, "pip", "freeze", *into], check=True, stdout=subprocess.PIPE, text=True).stdout
    environment.with_suffix(".txt").write_text(listed, encoding="utf-8")
    print(listed, flush=True)
    return programs


if __name__ == "__main__":
    sys.exit(main())
