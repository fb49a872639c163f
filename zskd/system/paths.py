"""What is at a path that a user gave, asked so that no path raises an error.

Python's own questions raise for a name that is too long or in a folder that must not be searched, and for ``~`` with a
user that is not there.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from zskd.system.yaml_text import brief

LONGEST_NAME = 255  # bytes of a name in a folder, on all common file systems
LONGEST_PATH = 4_095  # bytes of a path on Linux

_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def expanded(path: str | Path) -> Path:
    """The path with the home folder in place of ``~``; unchanged where there is no such user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (pathlib's raises RuntimeError)


def found_at(path: str | Path) -> str:
    """What is at a path, links followed: ``a file``, ``a folder``, ``a pipe``, ``a socket``, ``a device``, or ``none``.

    ``none`` may be followed by a reason: a link that leads nowhere, a name that is too long.

    Example:
        >>> found_at("/"), found_at("/no/such/file")
        ('a folder', 'none')
        >>> found_at("/" + "x" * 300)
        'none (File name too long)'
    """
    try:
        return _KINDS.get(stat.S_IFMT(Path(path).stat().st_mode), "something else")
    except FileNotFoundError:
        return "none (a link that leads nowhere)" if Path(path).is_symlink() else "none"
    except OSError as error:
        return f"none ({error.strerror})"
    except ValueError:  # NUL, or characters that no file name can hold
        return "none (no name of a file)"


def is_file(path: str | Path) -> bool:
    """True for a regular file or a link to one; no device or pipe, which may never end."""
    return found_at(path) == "a file"


def is_folder(path: str | Path) -> bool:
    """True for a folder or a link to one."""
    return found_at(path) == "a folder"


def exists(path: str | Path) -> bool:
    """True if anything is at the path that can be looked at."""
    return not found_at(path).startswith("none")


def name_problem(text: str, *, any_length: bool = False) -> str | None:
    """Why a text can be no path and no other name: NUL, characters outside UTF-8, or too long.

    Args:
        any_length: for texts that are no names, such as a list of labels.
    """
    if "\0" in text:
        return f"expected text without NUL, found {brief(text)}"
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return f"expected UTF-8 text, found other bytes in {brief(text)}"
    if any_length:
        return None
    if len(encoded) > LONGEST_PATH:
        return f"expected at most {LONGEST_PATH:,} bytes, found {len(encoded):,}: {brief(text)}"
    longest = max(map(len, encoded.split(b"/")))
    if longest > LONGEST_NAME:
        return f"expected names of at most {LONGEST_NAME} bytes, found one of {longest:,}: {brief(text)}"
    return None
