"""Sources of out-of-domain text: files, folders, Hub data sets, or documentation on this machine."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zskd.errors import InputError
from zskd.hub.ask import is_local, resolve_revision
from zskd.system.files import sha256_file
from zskd.system.paths import exists, expanded
from zskd.system.plain_text import found_instead
from zskd.system.progress import At, nowhere
from zskd.text.folders import Folder, identity, look_into
from zskd.text.records import Records, hub_records, json_records, parquet_records, read_lines

logger = logging.getLogger(__name__)

SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Source:
    """One source of documents.

    Attributes:
        kind: ``file``, ``hub`` or ``embedded``.
        name: the path, the Hub id with its configuration (ID or ID:CONFIG), or ``embedded``.
        identity: hash of the content: SHA-256 of a file, commit of a data set, or package versions.
    """

    kind: str
    name: str
    identity: str


def corpus_files(name: str) -> list[Path]:
    """The readable files of a local ``--corpus`` value; folders are searched recursively, see `look_into`."""
    path = expanded(name)
    return look_into(path, SUFFIXES).files if path.is_dir() else [path]


def check_source(name: str) -> list[str]:
    """Problems of a ``--corpus`` value that can be found without reading all of it or asking the Hub."""
    if name == "embedded" or (not is_local(name) and not name.endswith(SUFFIXES)):
        return []
    shown = f"--corpus {name}"
    path = expanded(name)
    if not exists(path):
        return [f"{shown}: expected a file, a folder, a Hub data set id or `embedded`, found no such file"]
    folder = look_into(path, SUFFIXES) if path.is_dir() else Folder(files=[path])
    files, problems = folder.files, [f"--corpus {problem}" for problem in folder.problems]
    if not files and not problems:
        found = f"none; left out: {left_out}" if (left_out := folder.left_out()) else "none"
        return [f"{shown}: expected {' '.join(SUFFIXES)} files in the folder, found {found}"]
    return problems + [f"--corpus {_printable(path)}: {problem}" for path in files if (problem := _problem(path))]


def _printable(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _problem(path: Path) -> str | None:
    """What is wrong with a file, as far as its name, its size and its beginning tell."""
    if not path.name.endswith(SUFFIXES):
        return f"expected one of {' '.join(SUFFIXES)}, found {path.suffix or 'no suffix'}"
    if _printable(path) != str(path):
        return "expected a file name in UTF-8, which records and cards can hold, found other bytes; rename it"
    if not path.is_file():
        return "expected a file, found a pipe or device; write what it gives to a file"
    try:
        with path.open("rb") as handle:
            beginning = handle.read(65_536)
    except OSError as error:
        return f"expected a file that can be read, found: {error.strerror}"
    if not beginning:
        return "expected text, found an empty file"
    if path.suffix in (".txt", ".jsonl") and b"\0" in beginning:
        return f"expected UTF-8 text, found {found_instead(beginning)}"
    return None


def find_sources(names: list[str]) -> list[Source]:
    """Resolve ``--corpus`` values to sources with a fixed identity.

    Raises:
        InputError: a file is missing or not usable, or a Hub data set cannot be resolved.
    """
    if problems := [problem for name in names for problem in check_source(name)]:
        raise InputError(problems)
    found = []
    seen: set[tuple[int, int]] = set()
    for name in names:
        if name == "embedded":
            from zskd.text.embedded import versions

            found.append(Source("embedded", name, json.dumps(versions(), sort_keys=True)))
        elif is_local(name) or name.endswith(SUFFIXES):
            for path in _files(name):
                if (own := identity(path)) in seen:
                    logger.warning("--corpus %s: named twice; it is read once", path)
                    continue
                seen.add(own)
                found.append(Source("file", str(path), sha256_file(path)))
        else:
            repo_id = name.partition(":")[0]
            found.append(Source("hub", name, resolve_revision(repo_id, None, flag="--corpus", repo_type="dataset")))
    return found


def _files(name: str) -> list[Path]:
    """As `corpus_files`; what is left out of a folder is logged."""
    path = expanded(name)
    if not path.is_dir():
        return [path]
    folder = look_into(path, SUFFIXES)
    if left_out := folder.left_out():
        logger.info("--corpus %s: %d file(s) are read; left out: %s", name, len(folder.files), left_out)
    return folder.files


def documents(source: Source, at: At = nowhere) -> Iterator[str]:
    """Raw passages of a source, in order; what is replaced in them, or is empty, is logged after the last.

    Args:
        at: is told now and then how much of the source has been read.

    Raises:
        InputError: the file's content does not match its suffix, or a record has no text.
    """
    if source.kind == "embedded":
        from zskd.text.embedded import embedded_documents

        yield from embedded_documents(at)
        return
    if source.name.endswith((".txt", ".txt.gz")) and source.kind == "file":
        yield from (line for _, line in read_lines(Path(source.name), at))
        return
    records = Records()
    if source.kind == "hub":
        found = hub_records(source.name, source.identity, at)
    elif source.name.endswith(".jsonl"):
        found = json_records(source.name, at)
    else:
        found = parquet_records(source.name, at)
    for where, record in found:
        yield records.text(record, where)
    records.say()
