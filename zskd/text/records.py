"""Lines and records of a corpus: JSON lines, parquet rows and rows of the Hub, each with the place it stands at."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from zskd.errors import InputError
from zskd.system.plain_text import Repairs, found_instead
from zskd.system.progress import At, nowhere

logger = logging.getLogger(__name__)

TEXT_FIELDS = ("text", "text_a", "text_b")
SHOWN = 80  # characters of a value or of a list of names in a message
TOLD = 1_000  # lines or rows from one report of the progress to the next
BEGINNING = 4_096  # bytes that tell what kind of file it is

Placed: TypeAlias = Iterator[tuple[str, dict[str, Any]]]  # records, each with its place for a message

_ESCAPED = re.compile("[\udc80-\udcff]")  # a byte that is not UTF-8, as Python's `surrogateescape` shows it


@dataclass
class Records:
    """The texts of records, and what was noticed in them.

    Attributes:
        empty: number of records whose text is empty.
        first_empty: where the first of them is.
        repairs: see `Repairs`.
    """

    empty: int = 0
    first_empty: str = ""
    repairs: Repairs = field(default_factory=Repairs)

    def text(self, record: dict[str, Any], where: str) -> str:
        """The text of a record: ``text``, with ``text_b`` if there is one, or ``text_a`` and ``text_b``.

        Raises:
            InputError: a field is missing, or holds something else than text.
        """
        for name in TEXT_FIELDS:
            if name in record and not isinstance(record[name], str):
                raise InputError(
                    f"--corpus {where}: expected text in `{name}`, found {kind(record[name])}; mend the record or "
                    "leave it out"
                )
        texts = [record[name] for name in TEXT_FIELDS if name in record]
        if "text" not in record and len(texts) < 2:
            raise InputError(
                f"--corpus {where}: expected `text`, or `text_a` and `text_b`; found {shown(record) or 'no field'}"
            )
        text = "\n".join(texts)
        if not text.strip():
            self.empty += 1
            self.first_empty = self.first_empty or where
        return self.repairs.repair(text, where)

    def say(self) -> None:
        """Log the counts, if there is anything to say."""
        self.repairs.say()
        if self.empty:
            logger.warning("%s: an empty text; there are %d such record(s)", self.first_empty, self.empty)


def kind(value: Any) -> str:
    """What a value of a record is, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {shown([repr(value)])}"
    names: dict[type, str] = {list: "a list", dict: "an object", bytes: "bytes", str: "a string"}
    return names.get(type(value), f"a {type(value).__name__}")


def shown(names: Any) -> str:
    """Names for a message, cut if they are many."""
    text = ", ".join(names).encode(errors="backslashreplace").decode()  # a key may be a lone surrogate
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def read_lines(path: Path, at: At = nowhere) -> Iterator[tuple[int, str]]:
    """Lines of a text file, plain or in gzip, with their numbers; blank lines are left out.

    A line ends with a line feed, a carriage return or both. Byte-order marks are dropped.

    Args:
        at: is told now and then how many bytes of the file have been read.

    Raises:
        InputError: a line is no UTF-8 text, the gzip file is not whole, or the file cannot be read.
    """
    opener: Any = gzip.open if path.name.endswith(".gz") else _as_it_is
    try:
        # Wrong bytes are kept as lone surrogates, which UTF-8 cannot have, so that they are found on their own line.
        with path.open("rb") as raw, opener(raw, "rb") as content:
            handle = io.TextIOWrapper(content, encoding="utf-8", errors="surrogateescape")
            size = os.fstat(raw.fileno()).st_size
            for number, line in enumerate(handle, start=1):
                if number % TOLD == 0 and raw.seekable():
                    at(raw.tell(), size, "B")
                if "\0" in line or (not line.isascii() and _ESCAPED.search(line)):
                    with path.open("rb") as again, opener(again, "rb") as start:
                        beginning = start.read(BEGINNING)
                    found = found_instead(line.encode(errors="surrogateescape") if number > 1 else beginning)
                    raise InputError(f"--corpus {path}, line {number}: expected UTF-8 text, found {found}")
                line = line.removeprefix("\ufeff")  # also within a file: it may be joined of several
                if line.strip():
                    yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"--corpus {path}: expected a whole gzip file, found: {error}") from error
    except OSError as error:  # it was there when the run began
        raise InputError(f"--corpus {path}: expected a file that can be read, found: {error.strerror}") from error


def _as_it_is(raw: BinaryIO, mode: str) -> BinaryIO:
    return raw


def json_records(name: str, at: At = nowhere) -> Placed:
    """One record a line.

    Raises:
        InputError: a line is no JSON object, or has a text twice; see also `read_lines`.
    """
    for number, line in read_lines(Path(name), at):
        where = f"{name}, line {number}"
        record = _parse(line, where)
        if not isinstance(record, dict):
            raise InputError(f"--corpus {where}: expected a JSON object, found {kind(record)}")
        for field_name in TEXT_FIELDS:
            if line.count(f'"{field_name}"') > 1 and _count(line, field_name) > 1:
                raise InputError(f"--corpus {where}: expected one `{field_name}`, found several in one record")
        yield where, record


def _parse(line: str, where: str) -> Any:
    try:
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise
        except ValueError:
            # A whole number of more digits than Python converts. It is in a field that is not read, or no text.
            return json.loads(line, parse_int=float)
    except json.JSONDecodeError as error:
        raise InputError(f"--corpus {where}: expected one JSON object a line, found: {error}") from error
    except RecursionError as error:
        raise InputError(f"--corpus {where}: expected a JSON object, found one that is nested too deeply") from error


def _count(line: str, name: str) -> int:
    """How often a name is a key of the outermost object."""
    pairs: list[tuple[str, Any]] = json.loads(line, parse_int=float, object_pairs_hook=lambda found: found)
    return sum(key == name for key, _ in pairs)


def parquet_records(name: str, at: At = nowhere) -> Placed:
    """The text columns of each row; rows count from 0.

    Raises:
        InputError: the file is no whole parquet file, has no text column or one of another type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(name)
        schema = file.schema_arrow
        columns = [column for column in TEXT_FIELDS if column in schema.names]
        if not columns:
            raise InputError(f"--corpus {name}: expected a column `text`, found {shown(schema.names)}")
        for column in columns:
            if schema.names.count(column) > 1:
                raise InputError(f"--corpus {name}: expected one column `{column}`, found {schema.names.count(column)}")
            if not _is_text(schema.field(column).type):
                raise InputError(
                    f"--corpus {name}: expected text in the column `{column}`, found {schema.field(column).type}"
                )
        number = 0
        for batch in file.iter_batches(batch_size=1_024, columns=columns):
            try:
                records = batch.to_pylist()
            except UnicodeDecodeError as error:
                wrong = number + next(at for at in range(batch.num_rows) if not _can_be_read(batch.slice(at, 1)))
                raise InputError(f"--corpus {name}, row {wrong}: expected UTF-8 text, found other bytes") from error
            at(number, file.metadata.num_rows, "row")
            for record in records:
                yield f"{name}, row {number}", record
                number += 1
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"--corpus {name}: expected a whole parquet file, found: {error}") from error


def _can_be_read(rows: Any) -> bool:
    try:
        rows.to_pylist()
    except UnicodeDecodeError:
        return False
    return True


def _is_text(found: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(found):
        found = found.value_type
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or str(found) == "string_view")


def hub_records(name: str, revision: str, at: At = nowhere) -> Placed:
    """The text columns of each row of a data set on the Hub; rows count from 0.

    Raises:
        InputError: the data set has no split ``train``, no such configuration or no text column.
    """
    from datasets import load_dataset

    repo_id, _, configuration = name.partition(":")
    try:
        rows = load_dataset(repo_id, configuration or None, split="train", revision=revision)
    except ValueError as error:  # of the library: an unknown split or configuration, which it lists
        raise InputError(f"--corpus {name}: expected ID or ID:CONFIG with a split `train`, found: {error}") from error
    columns = [column for column in TEXT_FIELDS if column in rows.column_names]
    if not columns:
        raise InputError(f"--corpus {name}: expected a column `text`, found {shown(rows.column_names)}")
    # Other columns, such as images, are not decoded.
    for number, record in enumerate(rows.select_columns(columns)):
        if number % TOLD == 0:
            at(number, len(rows), "row")
        yield f"{name}, row {number}", record
