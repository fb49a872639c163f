"""Checksums of cached files: a file that does not match its checksum is made anew, and the log says so.

Beside a cached file lies its SHA-256 in ``NAME.sha256``; ``sha256sum -c FOLDER/NAME.sha256``, called one folder above,
checks it. The checksum is in place before the file is, and it is part of no key. If a file and its checksum differ, or
the checksum cannot be read, nobody knows which of the two is damaged, so the file is made anew. A kill between the two
leaves a checksum without a file, or beside the earlier file: either that has the same content, or it is made anew. A
file without a checksum was written by an earlier version. It is used if it is valid, since its labels may have been
paid for.

The main process asks `known_digest` and tells the others, so that a file is read for its checksum once in a run.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from zskd.errors import RunError
from zskd.system.files import replacing, sha256_file, write_text

logger = logging.getLogger(__name__)

SUFFIX = ".sha256"
_LONGEST = 1_024  # bytes of a checksum file, whose folder and file name have at most 255 each
_told: set[Path] = set()  # folders whose files from an earlier version were mentioned


def checksum_file(path: Path) -> Path:
    """Where the checksum of `path` lies."""
    return path.with_name(path.name + SUFFIX)


def _line(path: Path, digest: str) -> str:
    # With the folder, which is named by a key, so that a whole folder under another's name is found out.
    return f"{digest}  {path.parent.name}/{path.name}\n"


def write_checksum(path: Path, digest: str) -> None:
    """Write the checksum file of `path`.

    Args:
        digest: hex SHA-256.
    """
    kept = checksum_file(path)
    _make_room(kept)
    write_text(kept, _line(path, digest))


def keep(path: Path, write: Callable[[Path], object]) -> str:
    """Write a cached file under a temporary name, then its checksum, then rename.

    Args:
        write: writes the content to the path that it is given.

    Returns:
        The file's hex SHA-256.
    """
    _make_room(path)
    with replacing(path) as temporary:
        write(temporary)
        digest = sha256_file(temporary)
        write_checksum(path, digest)
    return digest


def keep_content(path: Path, content: str) -> None:
    """Write a cached file that is named by a hash of its content and so needs no checksum; leave it if it is whole."""
    content_bytes = content.encode()
    if path.is_file() and sha256_file(path) == hashlib.sha256(content_bytes).hexdigest():
        return
    if os.path.lexists(path):
        _tell(path, "is not what its name says")
    _make_room(path)
    with replacing(path) as temporary:
        temporary.write_bytes(content_bytes)


def known_digest(path: Path, sound: Callable[[Path], bool]) -> str | None:
    """Hex SHA-256 of a cached file that matches its checksum; None if it is missing or damaged. The log names damage.

    Args:
        sound: whether a file without a checksum can be used; it raises what the machine is out of. If so, the checksum
            is written where that is possible, and a line in the log mentions the first file of a folder.

    Raises:
        RunError: the file is there but may not be read.
        OSError: it could not be read for another reason, but for an error of the disk, which counts as damage.
    """
    if not os.path.lexists(path):
        return None
    if not path.is_file():
        _tell(path, "is no file")
        return None
    try:
        expected, digest = _expected(path), sha256_file(path)
        if expected not in (None, digest) and _expected(path) != expected:  # another run has just written both
            expected, digest = _expected(path), sha256_file(path)
    except PermissionError as error:
        raise RunError(
            f"{path}: expected a file that may be read, found {error.strerror}; make it readable, or name another "
            "folder with --cache-dir"
        ) from error
    except FileNotFoundError:  # another run has just removed it
        return None
    except OSError as error:
        # Whatever else the machine is out of, the file may be whole, and its labels paid for.
        if error.errno != errno.EIO:
            raise
        _tell(path, f"cannot be read ({error.strerror})")
        return None
    if expected is None and sound(path):
        _adopt(path, digest)
    elif expected != digest:
        wrong = f"has a damaged {checksum_file(path).name}" if expected == "" else "does not match its checksum"
        _tell(path, wrong if expected is not None else "is damaged")
        return None
    return digest


def _expected(path: Path) -> str | None:
    """The checksum that was written; empty if it cannot be read or is another file's, None if there is none."""
    kept = checksum_file(path)
    if not os.path.lexists(kept):
        return None
    if not kept.is_file():
        return ""
    with kept.open("rb") as handle:
        content = handle.read(_LONGEST)
    digest = content[:64].decode("latin-1")
    whole = re.fullmatch("[0-9a-f]{64}", digest) and content == _line(path, digest).encode()
    return digest if whole else ""


def _tell(path: Path, what: str) -> None:
    """Say that a file is made anew, and why."""
    logger.warning("cache: %s %s and is made anew", path, what)


def _adopt(path: Path, digest: str) -> None:
    written = "their checksums are written beside them"
    try:
        write_checksum(path, digest)
    except OSError as error:
        written = f"their checksums cannot be written ({error.strerror})"
    if path.parent not in _told:
        _told.add(path.parent)
        logger.info("cache: %s has files without checksums, of an earlier version: used, and %s", path.parent, written)


def _make_room(path: Path) -> None:
    """Remove a folder that stands at the name of a cached file, which could not take its place.

    Raises:
        RunError: there is something else than a folder where the file's folder belongs.
    """
    for folder in list(path.parents)[:2]:
        if os.path.lexists(folder) and not folder.is_dir():
            raise RunError(
                f"{folder}: expected a folder of the cache, found something else; move it away, or name another folder "
                "with --cache-dir"
            )
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
