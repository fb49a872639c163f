"""Writing files so that a finished file is never lost and an unfinished one is never visible."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from zskd.errors import RunError
from zskd.system.os_faults import find_fault, writing
from zskd.system.paths import LONGEST_NAME, found_at
from zskd.system.unfinished import clear_unfinished, holder, mode_of_new_files, moved_aside


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
        raise RunError(f"{path}: expected a file or folder of zskd's, or nothing, found {found}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_unfinished(path.parent, path.name)
        with holder(path) as folder:
            target = folder / path.name
            yield target
            _share(target, mode_of_new_files(folder))
            if target.is_dir() and path.is_dir():
                # A folder cannot be replaced in one step, so the old one is moved aside first.
                with moved_aside(path, folder):
                    target.replace(path)
            else:
                target.replace(path)


def _share(target: Path, mode: int) -> None:
    """Give files the permissions of new ones: safetensors writes its own for the owner alone, whatever the umask."""
    for path in target.rglob("*") if target.is_dir() else [target]:
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o777 == 0o600:
            path.chmod(mode)


@contextlib.contextmanager
def output_file(path: str | Path) -> Iterator[Path]:
    """As `replacing`, for a file that the user named: a device, pipe or link is written to and stays what it is.

    On failure, folders that were made for it go too.

    ``/dev/stdout`` is a link, behind which may be a file that another process has open.
    """
    path = Path(path)
    if path.is_symlink() or _special(path) is not None:
        with writing(path):
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
    found = "a link" if os.path.islink(path) else found_at(path)  # noqa: PTH114 - Path raises where it may not look
    return found if found in ("a pipe", "a socket", "a device") else None


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text under a temporary name, then rename."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_problem(path: Path) -> str | None:
    """Why nothing can be written at a path, neither a file nor a folder; None if it can, as far as one sees before.

    Example:
        >>> from pathlib import Path
        >>> write_problem(Path("runs") / ("x" * 300))
        'the name is too long (300 bytes)'
    """
    if too_long := [part for part in path.parts if len(os.fsencode(part)) > LONGEST_NAME]:
        return f"the name is too long ({len(os.fsencode(too_long[0]))} bytes)"
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        fault = find_fault(error)
        return fault.reason if fault else str(error)
    existing = next(item for item in (path, *path.absolute().parents) if os.path.lexists(item))
    if not os.path.isdir(existing) or may_write(existing):  # noqa: PTH112 - Path raises where it may not look
        return None
    read_only = os.statvfs(existing).f_flag & os.ST_RDONLY
    return f"{existing}: {'the file system is read-only' if read_only else 'no permission to write there'}"


def may_write(folder: Path) -> bool:
    """Whether files can be made in a folder that is there."""
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def target_problem(path: Path) -> str | None:
    """`write_problem` of what `replacing` puts into place, which needs its folder; links and devices stay there."""
    if os.path.islink(path) or _special(path) is not None:  # noqa: PTH114 - as above
        return None
    return write_problem(path.absolute().parent / path.name) or write_problem(path.absolute().parent)


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
