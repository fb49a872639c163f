"""Files of a model folder: regular, of a sensible size, JSON. Imports neither torch nor transformers."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from zskd.errors import InputError
from zskd.system.paths import found_at
from zskd.system.yaml_text import brief

# Bytes. The largest vocabularies in use have about 50 MB, configurations and indices of weights at most a few.
LARGEST_TEXT = 256 * 2**20
LARGEST_JSON = 16 * 2**20
_READ = (".json", ".txt", ".model", ".jinja", ".safetensors", ".bin")  # endings of files that loading may open


def check_regular(path: Path, largest: int | None = None) -> None:
    """Check that a path is a regular file or a link to one, before it is opened: a pipe would block for ever.

    Args:
        largest: most bytes; None for no limit.

    Raises:
        InputError: it is something else, or larger.
        FileNotFoundError: there is nothing.
    """
    if (found := found_at(path)) == "none":
        raise FileNotFoundError(path)
    if found != "a file":
        raise InputError(f"{path}: expected a file, found {found}")
    if largest is not None and (size := path.stat().st_size) > largest:
        raise InputError(f"{path}: expected at most {largest:,} bytes, found {size:,}")


def check_folder(folder: Path, *, flag: str) -> None:
    """Check the files of a model folder that loading may open, whether it needs them or not.

    Args:
        flag: how messages name the folder.

    Raises:
        InputError: one is a pipe, a device, a link to nowhere or too large, or an archive of weights is packed.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in _READ)
    except OSError as error:
        raise InputError(f"{flag} {folder}: expected a model folder, found: {error.strerror}") from error
    try:
        for path in paths:
            if path.is_dir():
                continue  # missing as a file, which the loader says if it needs it
            weights = path.suffix in (".safetensors", ".bin")
            check_regular(path, None if weights else LARGEST_TEXT)
            if path.suffix == ".bin":
                _check_archive(path)
    except InputError as error:
        raise InputError(f"{flag} {error}") from error


def _check_archive(path: Path) -> None:
    """Refuse an archive of weights that is packed, or whose parts claim to be larger than it is.

    torch writes and reads its archives without compression. From a packed one it would unpack gigabytes of zeros.
    """
    try:
        if not zipfile.is_zipfile(path):
            return  # the format before, or junk, which the loader refuses
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{path}: expected weights as torch saves them, found: {brief(str(error))}") from error
    packed = [part for part in parts if part.compress_type != zipfile.ZIP_STORED]
    if packed or sum(part.file_size for part in parts) > path.stat().st_size:
        raise InputError(f"{path}: expected weights as torch saves them, found a compressed archive")


def read_json(path: Path, largest: int = LARGEST_JSON) -> dict[str, Any]:
    """Content of a JSON file of a folder: an object with every key once.

    Raises:
        InputError: it is no regular file, too large, no UTF-8 text, no JSON object or nested too deep, or has a key
            twice, of which readers would take one or the other.
        FileNotFoundError: there is nothing.
    """
    check_regular(path, largest)
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: _once(pairs, path))
    except RecursionError:
        raise InputError(f"{path}: expected JSON, found it nested too deep") from None
    except (OSError, ValueError) as error:  # no UTF-8 text, no JSON, or a number of thousands of digits
        raise InputError(f"{path}: expected JSON, found: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a JSON object, found {_named(found)}")
    return found


def _once(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: expected every key once, found {brief(twice)} twice; remove one")
    return found


def _named(value: object) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
