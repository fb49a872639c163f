"""Arrow files, written as a stream and read memory-mapped, so that memory use does not grow with their length."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from zskd.system.files import replacing

ROWS = 4_096  # rows per record batch


def write_arrow(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write record batches to `path` under a temporary name, then rename."""
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)


def is_sound(path: Path, rows: int | None = None) -> bool:
    """Whether a file exists, opens, and has the given number of rows (None for any)."""
    if not path.is_file():
        return False
    try:
        found = len(open_arrow(path))
    except (pa.ArrowInvalid, OSError, EOFError):
        return False
    return rows is None or found == rows


def read_note(path: Path, name: str) -> str | None:
    """An entry of the metadata of the file's schema; None if there is none of that name."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        note = (reader.schema.metadata or {}).get(name.encode())
    return None if note is None else note.decode()


def open_arrow(path: Path) -> Dataset:
    """The rows of `path`, memory-mapped."""
    return Dataset.from_file(str(path))
