"""Writing files so that a finished file is never lost and an unfinished one is never visible."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success rename it to `path`, on failure remove it.

    It works for files and folders; the caller creates either at the temporary path. If two processes write the same
    target, the result is one of the two, complete.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    target = holder / path.name
    try:
        yield target
        if target.is_dir() and path.is_dir():
            # A folder cannot be replaced in one step, so the old one is moved aside first.
            path.rename(holder / "old")
        target.replace(path)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text under a temporary name, then rename."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
