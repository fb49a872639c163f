"""Removing what a killed process left half-written, and leaving alone what a living one is writing.

A file or folder is written inside a holder folder, ``.NAME.xxxxxxxx.part`` beside ``NAME``, and the writer keeps a lock
(``flock``) on a file in it. The system takes the lock away when the process ends, however it ends, and other nodes see
it where the file system supports that. Where it does not, a holder counts as left behind after a day.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# A file system without locks does not tell whether a writer lives. Nothing takes this long to write.
ABANDONED_SECONDS = 86_400.0

_HOLDER = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.part", re.DOTALL)
# Beside what is written in a holder, which may have any other name.
_LOCK = ".zskd-lock"
_OLD = ".zskd-old"
_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_LONGEST = 200  # bytes of a name in a holder's
_DEPTH = 3  # of folders in a cache or a run folder, below the first


def held_name(path: Path) -> str | None:
    """What the holder folder `path` is for; None if it is no holder."""
    found = _HOLDER.fullmatch(path.name)
    return found["name"] if found and path.is_dir() and not path.is_symlink() else None


def _beginning(name: str) -> str:
    """As much of a name as a holder's has room for; the name itself may take all 255 bytes that a name can have."""
    return name.encode()[:_LONGEST].decode(errors="ignore")


@contextlib.contextmanager
def holder(path: Path) -> Iterator[Path]:
    """A locked holder folder for writing `path`, removed at the end."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{_beginning(path.name)}.", suffix=".part", dir=path.parent))
        lock = _locked(folder)
        if lock is not None:
            break
    try:
        yield folder
    finally:
        os.close(lock)  # first, as NFS keeps a removed file under another name while it is open
        # An old folder that could not be put back is all that is left of it; the next start puts it back.
        if not (folder / _OLD).exists() or path.exists():
            shutil.rmtree(folder, ignore_errors=True)


def mode_of_new_files(folder: Path) -> int:
    """Permissions of a file that is made now, as the umask leaves them; `folder` is a holder."""
    return (folder / _LOCK).stat().st_mode & 0o777


def _locked(folder: Path) -> int | None:
    """A file descriptor that holds the lock of a new holder; None if another process has just cleared it away."""
    try:
        lock = os.open(folder / _LOCK, _OPEN, 0o666)
    except FileNotFoundError:
        return None
    try:
        # Without locks in this file system the writer goes on, and others leave its holder alone for a day.
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.samestat(os.fstat(lock), (folder / _LOCK).stat()):
            return lock
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


@contextlib.contextmanager
def moved_aside(path: Path, folder: Path) -> Iterator[None]:
    """Keep the folder `path` in the holder of its successor, until that is in its place; put it back if it never is."""
    try:
        path.rename(folder / _OLD)
        yield
    finally:
        if (folder / _OLD).exists() and not path.exists():
            (folder / _OLD).rename(path)


def clear_unfinished(folder: Path, name: str | None = None, *, deep: bool = False, owned: bool = False) -> None:
    """Remove the holders in `folder` whose writers have ended.

    If a writer was killed while it replaced a folder, the finished new one, which it had not yet renamed, takes its
    place. What may not be removed (a read-only cache, a file of another user) stays.

    Args:
        name: only holders for this file or folder; None for all.
        deep: also in folders below, `_DEPTH` of them deep.
        owned: nobody else writes there now, so that age does not count where the file system has no locks.
    """
    for parent, children, _ in os.walk(folder):
        if not deep or len(Path(parent).relative_to(folder).parts) >= _DEPTH:
            below: list[str] = []
        else:
            below = [child for child in children if not _HOLDER.fullmatch(child)]
        for child in children:
            held = held_name(Path(parent, child))
            if held is not None and (name is None or _beginning(name) == held):
                with contextlib.suppress(OSError):
                    _clear(Path(parent, child), name or held, owned=owned)
        children[:] = below


def _clear(folder: Path, name: str, *, owned: bool) -> None:
    """Remove one holder, unless its writer lives.

    Raises:
        OSError: it must not be removed, or another process has done so.
    """
    lock = os.open(folder / _LOCK, _OPEN, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            if not owned and time.time() - _last_change(folder) < ABANDONED_SECONDS:
                return
        made = next((child for child in folder.iterdir() if child.name not in (_LOCK, _OLD)), None)
        path = folder.parent / (made.name if made else name)
        if (folder / _OLD).exists() and not path.exists():
            (made or folder / _OLD).rename(path)
        # A writer that made this holder and has no lock yet sees by the new name that it has to begin again.
        grave = folder.with_name(f".{_beginning(name)}.{secrets.token_hex(4)}.part")
        folder.rename(grave)
    finally:
        os.close(lock)
    shutil.rmtree(grave, ignore_errors=True)


def _last_change(folder: Path) -> float:
    """When something in the folder was last written; the lock, which may be new, does not count."""
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")) if path.name != _LOCK)
