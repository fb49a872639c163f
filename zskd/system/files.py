"""Writing files so that a finished file is never lost and an unfinished one is never visible."""

from __future__ import annotations

import contextlib
import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path

from zskd.errors import RunError
from zskd.system.unfinished import clear_unfinished, holder, moved_aside


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success rename it to `path`, on failure remove it.

    It works for files and folders; the caller creates either at the temporary path. If two processes write the same
    target, the result is one of the two, complete. A link is replaced, not followed. What a killed process left of the
    same target is removed first (`zskd.system.unfinished`).

    Raises:
        RunError: a device, pipe or socket is there.
    """
    path = Path(path)
    if (found := _special(path)) is not None:
        raise RunError(f"{path}: expected a file or folder of zskd's, or nothing, found a {found}")
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_unfinished(path.parent, path.name)
    with holder(path) as folder:
        target = folder / path.name
        yield target
        if target.is_dir() and path.is_dir():
            # A folder cannot be replaced in one step, so the old one is moved aside first.
            with moved_aside(path, folder):
                target.replace(path)
        else:
            target.replace(path)


@contextlib.contextmanager
def output_file(path: str | Path) -> Iterator[Path]:
    """As `replacing`, for a file that the user named: a device, pipe or link is written to and stays what it is.

    On failure, folders that were made for it go too.

    ``/dev/stdout`` is a link, behind which may be a file that another process has open.
    """
    path = Path(path)
    if path.is_symlink() or _special(path) is not None:
        yield path
        return
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        with replacing(path) as temporary:
            yield temporary
    except BaseException:
        for folder in made:  # the innermost first
            with contextlib.suppress(OSError):  # somebody else has put something there
                folder.rmdir()
        raise


def _special(path: Path) -> str | None:
    """What a path is that is neither file, folder, link nor nothing."""
    try:
        mode = path.lstat().st_mode
    except OSError:  # nothing; whatever else it is, the caller's own call says so
        return None
    kinds = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device"}
    return kinds.get(stat.S_IFMT(mode))


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text under a temporary name, then rename."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
