"""The source distribution alone, in an environment and a folder of its own: every verb and every test.

make test-sdist
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from recipes.bounds import tests_pass
from recipes.wheel import ROOT, every_verb_works, install, pip_install


def main() -> int:
    """Build, unpack, install and try; the exit code is 1 if a verb or a test fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", help="files and folders of tests (default: all)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = unpack(build(folder), folder)
        programs = install(f"{source}[dev]", folder / "env")
        works = every_verb_works(programs / "zskd", folder / "empty")
        # Tests import what lies beside them, of which `configs` becomes a part of the package by installation only.
        pip_install(programs, "--no-deps", "--editable", str(source))
        passes = tests_pass(programs, source, arguments.tests)
    return 0 if works and passes else 1


def build(folder: Path) -> Path:
    """The source distribution of this checkout, made in `folder`."""
    uv = [sys.executable, "-m", "uv", "build", "--quiet", "--sdist", "--out-dir", str(folder)]
    subprocess.run([*uv, str(ROOT)], check=True)
    (archive,) = folder.glob("zskd-*.tar.gz")
    print(f"{archive.name}: {archive.stat().st_size / 1e6:.1f} MB", flush=True)
    return archive


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive in `folder`; its one folder is returned."""
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


if __name__ == "__main__":
    sys.exit(main())
