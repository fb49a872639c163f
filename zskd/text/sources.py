"""Sources of out-of-domain text: files, folders, Hub data sets, or documentation on this machine."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zskd.errors import InputError
from zskd.hub.ask import is_local, resolve_revision
from zskd.system.files import sha256_file

SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".parquet")
TEXT_FIELDS = ("text", "text_a", "text_b")


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
    """The readable files of a local ``--corpus`` value; folders are searched recursively."""
    path = Path(name).expanduser()
    if path.is_dir():
        return sorted(item for item in path.rglob("*") if item.is_file() and item.name.endswith(SUFFIXES))
    return [path]


def check_source(name: str) -> list[str]:
    """Problems of a ``--corpus`` value that can be found without reading all of it or asking the Hub."""
    if name == "embedded" or (not is_local(name) and not name.endswith(SUFFIXES)):
        return []
    shown = f"--corpus {name}"
    if not Path(name).expanduser().exists():
        return [f"{shown}: expected a file, a folder, a Hub data set id or `embedded`, found no such file"]
    files = corpus_files(name)
    if not files:
        return [f"{shown}: expected {' '.join(SUFFIXES)} files in the folder, found none"]
    problems = []
    for path in files:
        if not path.name.endswith(SUFFIXES):
            problems.append(
                f"--corpus {path}: expected one of {' '.join(SUFFIXES)}, found {path.suffix or 'no suffix'}"
            )
        elif path.stat().st_size == 0:
            problems.append(f"--corpus {path}: expected text, found an empty file")
        elif path.suffix in (".txt", ".jsonl"):
            with path.open("rb") as handle:
                if b"\0" in handle.read(65_536):
                    problems.append(f"--corpus {path}: expected UTF-8 text, found binary data")
    return problems


def find_sources(names: list[str]) -> list[Source]:
    """Resolve ``--corpus`` values to sources with a fixed identity.

    Raises:
        InputError: a file is missing or not usable, or a Hub data set cannot be resolved.
    """
    if problems := [problem for name in names for problem in check_source(name)]:
        raise InputError(problems)
    found = []
    for name in names:
        if name == "embedded":
            from zskd.text.embedded import versions

            found.append(Source("embedded", name, json.dumps(versions(), sort_keys=True)))
        elif is_local(name) or name.endswith(SUFFIXES):
            found += [Source("file", str(path), sha256_file(path)) for path in corpus_files(name)]
        else:
            repo_id = name.partition(":")[0]
            found.append(Source("hub", name, resolve_revision(repo_id, None, flag="--corpus", repo_type="dataset")))
    return found


def documents(source: Source) -> Iterator[str]:
    """Raw passages of a source, in order.

    Raises:
        InputError: the file's content does not match its suffix, or a record has no text.
    """
    if source.kind == "embedded":
        from zskd.text.embedded import embedded_documents

        yield from embedded_documents()
    elif source.kind == "hub":
        yield from _hub_rows(source)
    elif source.name.endswith((".txt", ".txt.gz")):
        yield from (line for _, line in _lines(Path(source.name)))
    elif source.name.endswith(".jsonl"):
        for number, line in _lines(Path(source.name)):
            yield _record_text(_parse_json(line, source.name, number), f"{source.name}, line {number}")
    else:
        yield from _parquet_rows(source.name)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    opener: Any = gzip.open if path.name.endswith(".gz") else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as handle:
            for number, line in enumerate(handle, start=1):
                if "\0" in line:
                    raise InputError(f"--corpus {path}, line {number}: expected UTF-8 text, found binary data")
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise InputError(f"--corpus {path}: expected UTF-8 text, found other bytes after line {number}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"--corpus {path}: expected a whole gzip file, found: {error}") from error


def _parse_json(line: str, name: str, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"--corpus {name}, line {number}: expected one JSON object a line, found: {error}") from error
    if not isinstance(record, dict):
        raise InputError(f"--corpus {name}, line {number}: expected a JSON object, found a {type(record).__name__}")
    return record


def _record_text(record: dict[str, Any], where: str) -> str:
    texts = [record[name] for name in TEXT_FIELDS if isinstance(record.get(name), str)]
    if not texts:
        raise InputError(f"--corpus {where}: expected `text`, or `text_a` and `text_b`; found {', '.join(record)}")
    return "\n".join(texts)


def _parquet_rows(name: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(name)
        columns = [column for column in TEXT_FIELDS if column in file.schema_arrow.names]
        if not columns:
            raise InputError(f"--corpus {name}: expected a column `text`, found {', '.join(file.schema_arrow.names)}")
        for batch in file.iter_batches(batch_size=1_024, columns=columns):
            for record in batch.to_pylist():
                yield _record_text(record, name)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"--corpus {name}: expected a whole parquet file, found: {error}") from error


def _hub_rows(source: Source) -> Iterator[str]:
    from datasets import load_dataset

    repo_id, _, configuration = source.name.partition(":")
    rows = load_dataset(repo_id, configuration or None, split="train", revision=source.identity)
    for record in rows:
        yield _record_text(record, source.name)
