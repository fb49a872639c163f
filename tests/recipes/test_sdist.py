"""The source distribution holds what the repository holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from recipes.sdist import ROOT

BUILD = "import sys; from setuptools.build_meta import build_sdist; print(build_sdist(sys.argv[1]))"
# What the build adds.
MADE = {"PKG-INFO"}


@pytest.fixture
def checkout(tmp_path: Path) -> tuple[Path, set[str]]:
    """A copy of the files that git does not ignore, and their paths."""
    if not (ROOT / ".git").exists():
        pytest.skip("only a checkout of git tells what belongs to the project")
    git = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, check=True, capture_output=True, text=True)
    paths = {path for path in listed.stdout.split("\0") if path and (ROOT / path).exists()}
    for path in paths:
        (tmp_path / "copy" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tmp_path / "copy" / path)
    return tmp_path / "copy", paths


def test_it_holds_every_file_of_the_project_and_no_other(checkout: tuple[Path, set[str]], tmp_path: Path) -> None:
    copy, paths = checkout
    for left in (
        "zskd/__pycache__/a.cpython-311.pyc",
        "examples/browser/node_modules/x/index.js",
        "runs/sst2/run.json",
    ):
        (copy / left).parent.mkdir(parents=True, exist_ok=True)
        (copy / left).write_text("made by a run", encoding="utf-8")
    subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], cwd=copy, check=True, capture_output=True)
    (archive,) = tmp_path.glob("zskd-*.tar.gz")
    with tarfile.open(archive) as files:
        held = {member.name.partition("/")[2] for member in files if member.isfile()}
    held = {path for path in held if not path.startswith("zskd.egg-info/")}
    assert held - MADE == paths
