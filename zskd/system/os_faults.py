"""Faults of the machine (a full disk, a file without permission, no memory) in what libraries raise.

Most of it is an `OSError` with its number. Libraries that write files themselves lose the number in a text of their
own, and wrap errors in others. Everything else is a programming error and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Number -> what is wrong, and what helps before the command is repeated.
_KNOWN: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("no space left on the disk", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or raise the quota"),
    errno.EFBIG: ("the file is larger than the limit allows", "raise the limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "name another folder"),
    errno.EACCES: ("no permission", "change the permissions or name another path"),
    errno.EPERM: ("not permitted", "change the permissions or name another path"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.ENOENT: ("it is not there, or was removed meanwhile", "see who removes it"),
    errno.ENOTDIR: ("a part of the path is no folder", "name another path"),
    errno.EISDIR: ("it is a folder", "name a file"),
    errno.ELOOP: ("links that lead in a circle", "name another path"),
    errno.ENOTEMPTY: ("another process writes there", "end it"),
    errno.EEXIST: ("it is there already", "name another path"),
    errno.EMFILE: ("too many open files", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many open files on this machine", "close some programs"),
    errno.EIO: ("the disk does not answer (input/output error)", "check the disk or the mount"),
    errno.ENXIO: ("the device is gone", "check the disk or the mount"),
    errno.ENODEV: ("the device is gone", "check the disk or the mount"),
    errno.ESTALE: ("the mount is gone (stale file handle)", "check the mount"),
    errno.ENOTCONN: ("the mount is gone (not connected)", "check the mount"),
    errno.EHOSTDOWN: ("the mount's server does not answer", "check the mount"),
    errno.ETXTBSY: ("another process uses the file", "end it"),
    errno.EBUSY: ("another process uses it", "end it"),
    errno.EAGAIN: ("no further process or thread can be started", "raise the limit (ulimit -u)"),
    errno.ENOMEM: ("no memory left", ""),
    errno.EPIPE: ("what read the output has ended", ""),
}
NAMED = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
)
# As Rust (safetensors, tokenizers) and Arrow put the number into a text.
_NUMBER = re.compile(r"\(os error (\d+)\)|\[errno (\d+)\]", re.IGNORECASE)
# Writers of Arrow and torch that lose the number.
_UNWRITTEN = re.compile(r"iostream error|inline_container.*(unexpected pos|writ)|PytorchStreamWriter failed", re.DOTALL)
_NO_FOLDER = re.compile(r"Parent directory (\S+) does not exist")
_MEMORY = re.compile(
    r"DefaultCPUAllocator|alloc_cpu|out of memory|not enough memory|cannot allocate memory|std::bad_alloc|"
    r"CUBLAS_STATUS_ALLOC_FAILED|could not create a (primitive|memory)",
    re.IGNORECASE,
)
_THREADS = re.compile(r"can't start new thread|Resource temporarily unavailable")
_NO_TEMPORARY = "No usable temporary directory"
_LIBRARIES = ("pyarrow", "safetensors", "safetensors_rust", "torch", "datasets", "tokenizers", "huggingface_hub")
_PACKAGE = Path(__file__).parents[1]
_WRITING, _KEPT = "while writing ", "kept: "
LONGEST = 300  # characters of a path in a message


@dataclass(frozen=True)
class Fault:
    """What the machine could not do.

    Attributes:
        number: as in `errno`.
        reason: in words.
        advice: what to do before the command is repeated; empty where that depends on the command.
        path: the file; None if the library does not say.
        writing: whether zskd was writing it.
        kept: what is kept, if the code that failed knows (`keeping`).
    """

    number: int
    reason: str
    advice: str
    path: str | None = None
    writing: bool = False
    kept: str | None = None

    @property
    def memory(self) -> bool:
        """Whether memory was lacking."""
        return self.number == errno.ENOMEM

    @property
    def shown(self) -> str:
        """Path and reason for a message."""
        path = self.path
        if path is not None and len(path) > LONGEST:
            path = f"{path[:LONGEST]}..."
        return f"{path}: {self.reason}" if path else self.reason


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Note the file that is written in an error that passes, for libraries that do not say it."""
    with _noting(f"{_WRITING}{path}"):
        yield


@contextmanager
def keeping(what: str) -> Iterator[None]:
    """Note in an error that passes what is kept although the command fails."""
    with _noting(f"{_KEPT}{what}"):
        yield


@contextmanager
def _noting(note: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if find_fault(error) is not None:
            error.add_note(note)
        raise


def find_fault(error: BaseException) -> Fault | None:
    """The machine's fault behind an error, or behind what caused it; None if there is none.

    Example:
        >>> import errno
        >>> find_fault(OSError(errno.ENOSPC, "No space left on device", "run/student")).shown
        'run/student: no space left on the disk'
        >>> find_fault(RuntimeError("Error: I/O error: File too large (os error 27)")).reason
        'the file is larger than the limit allows'
        >>> find_fault(KeyError("epochs")) is None
        True
    """
    written = kept = None
    for link in _chain(error):
        for note in getattr(link, "__notes__", ()):
            if note.startswith(_WRITING):
                written = written or note.removeprefix(_WRITING)
            elif note.startswith(_KEPT):
                kept = note.removeprefix(_KEPT)
        if isinstance(link, FileNotFoundError) and _NO_TEMPORARY in str(link):
            return Fault(errno.ENOSPC, "no folder for temporary files can be written", "set TMPDIR to another folder")
        if (found := _number_of(link)) is not None:
            return _fault(found, _path_of(link), written, kept)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, or what was handled when it was raised, if it may stand for that."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        handled = None if link.__suppress_context__ else link.__context__
        link = link.__cause__ or (handled if handled is not None and _wraps(link, handled) else None)


def _wraps(error: BaseException, handled: BaseException) -> bool:
    """Whether an error may stand for the one that was handled when it was raised.

    An ordinary one does where the machine is out of something: torch then fails once more when it closes the file. A
    file that is not there is handled by many, such as those who look into a cache first.
    """
    if isinstance(error, OSError | MemoryError) or type(error).__module__.partition(".")[0].strip("_") in _LIBRARIES:
        return True
    return _of_a_library(error) and isinstance(handled, OSError) and handled.errno not in NAMED


def _of_a_library(error: BaseException) -> bool:
    """Whether an error's text may hide a fault of the machine: those of files, of writers and of allocators."""
    own = type(error)
    return (
        isinstance(error, OSError | MemoryError)
        or own in (Exception, RuntimeError, SystemError)  # as tokenizers, torch and Python's threads raise
        or own.__module__.partition(".")[0].strip("_") in _LIBRARIES
    )


def _number_of(error: BaseException) -> int | None:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return errno.ENOMEM
    if not _of_a_library(error):
        return None
    if isinstance(error, OSError) and error.errno in _KNOWN:
        return None if _own(_path_of(error)) else error.errno
    text = str(error)
    if (found := _NUMBER.search(text)) and int(found[1] or found[2]) in _KNOWN:
        return int(found[1] or found[2])
    if _UNWRITTEN.search(text):
        return 0
    for pattern, number in ((_NO_FOLDER, errno.ENOENT), (_MEMORY, errno.ENOMEM), (_THREADS, errno.EAGAIN)):
        if pattern.search(text):
            return number
    words = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ESTALE)
    return next((number for number in words if os.strerror(number) in text), None)


def _own(path: str | None) -> bool:
    """Whether a path is part of zskd itself: one that is not there is a programming error."""
    return path is not None and Path(path).is_relative_to(_PACKAGE)


def _path_of(error: BaseException) -> str | None:
    name = getattr(error, "filename", None)
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    if isinstance(name, str | os.PathLike):
        return os.fspath(name)
    found = _NO_FOLDER.search(str(error))
    return found[1] if found else None


def _fault(number: int, path: str | None, written: str | None, kept: str | None) -> Fault:
    if number == 0:
        limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
        number = errno.EFBIG if limited else errno.ENOSPC
    reason, advice = _KNOWN[number]
    if number in (errno.ENOMEM, errno.EAGAIN):
        return Fault(number, reason, advice, kept=kept)  # which no file decides
    # What is written has a hidden name until it is whole.
    hidden = f"{Path(written).parent}{os.sep}." if written else ""
    whole = written is not None and (path is None or path.startswith(hidden) or written.startswith(path))
    inside = written is not None and path is not None and path.startswith(f"{written}{os.sep}")
    return Fault(number, reason, advice, written if whole else path, whole or inside, kept)
