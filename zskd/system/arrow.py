"""Arrow files, written as a stream and read memory-mapped, so that memory use does not grow with their length."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset

from zskd.system.checksums import keep, known_digest
from zskd.system.files import replacing

ROWS = 4_096  # rows per record batch


def write_arrow(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write record batches to `path` under a temporary name, then rename."""
    with replacing(path) as temporary:
        _write(temporary, batches, schema)


def keep_arrow(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> str:
    """`write_arrow` for a cached file, with a checksum. Returns the file's hex SHA-256."""
    return keep(path, lambda temporary: _write(temporary, batches, schema))


def _write(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def is_sound(path: Path, schema: pa.Schema, rows: int | None = None) -> bool:
    """Whether a file is valid and has the columns of `schema` and the given number of rows (None for any).

    All of it is read: offsets that are damaged would let Arrow read memory that is not its own.
    """
    found = 0
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
            if not reader.schema.equals(schema, check_metadata=False):
                return False
            for batch in reader:
                batch.validate(full=True)
                found += len(batch)
        open_arrow(path)
    except (FileNotFoundError, IsADirectoryError, pa.ArrowException, EOFError, ValueError):
        return False
    except OSError as error:
        if error.errno:  # of the machine; Arrow's own, for a file that ends too early, has no number
            raise
        return False
    return rows in (None, found)


def arrow_digest(path: Path, schema: pa.Schema, rows: int | None = None) -> str | None:
    """Hex SHA-256 of a cached file that can be used; None if it has to be written. See `known_digest`."""
    return known_digest(path, lambda kept: is_sound(kept, schema, rows))


def read_note(path: Path, name: str) -> str | None:
    """An entry of the metadata of the file's schema; None if there is none of that name."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        note = (reader.schema.metadata or {}).get(name.encode())
    return None if note is None else note.decode()


def open_arrow(path: Path) -> Dataset:
    """The rows of `path`, memory-mapped."""
    return Dataset.from_file(str(path))


def shortest_first(rows: Dataset) -> Dataset:
    """The rows by their column ``length``; those of one length stay in their order."""
    return rows.select(np.argsort(np.asarray(rows["length"]), kind="stable"))
