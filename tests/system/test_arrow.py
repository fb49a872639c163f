"""Arrow files: what was written is read, in order, and a damaged file is known for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset

from zskd.system.arrow import is_sound, open_arrow, read_note, shortest_first, write_arrow

SCHEMA = pa.schema({"text": pa.string(), "number": pa.int64()})


def batches(sizes: list[int]) -> Iterator[pa.RecordBatch]:
    first = 0
    for size in sizes:
        numbers = list(range(first, first + size))
        yield pa.record_batch([pa.array([f"text {i}" for i in numbers]), pa.array(numbers)], schema=SCHEMA)
        first += size


@pytest.mark.parametrize("sizes", [[], [1], [3, 1, 5]])
def test_rows_come_back_in_order_however_they_were_batched(sizes: list[int], tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    write_arrow(path, batches(sizes), SCHEMA)
    found = open_arrow(path)
    assert found.column_names == ["text", "number"]
    assert found["number"][:] == list(range(sum(sizes)))
    assert found["text"][:] == [f"text {i}" for i in range(sum(sizes))]
    assert is_sound(path, SCHEMA) and is_sound(path, SCHEMA, sum(sizes)) and not is_sound(path, SCHEMA, sum(sizes) + 1)
    assert not is_sound(path, pa.schema([SCHEMA.field("text")]))


def test_a_file_that_is_missing_cut_or_something_else_is_not_sound(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    assert not is_sound(path, SCHEMA)
    write_arrow(path, batches([50]), SCHEMA)
    whole = path.read_bytes()
    for content in (b"", b"no arrow file", whole[:10], whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert not is_sound(path, SCHEMA, 50)
    assert not is_sound(tmp_path, SCHEMA)


def test_rows_that_fail_leave_no_file(tmp_path: Path) -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield from batches([3])
        raise KeyError

    with pytest.raises(KeyError):
        write_arrow(tmp_path / "rows.arrow", failing(), SCHEMA)
    assert list(tmp_path.iterdir()) == []


def test_a_note_in_the_schema_is_read_back(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("number", pa.int32())])
    for name, noted in (("plain", schema), ("noted", schema.with_metadata({"cut": "7"}))):
        batch = pa.record_batch([pa.array([1, 2], pa.int32())], schema=noted)
        write_arrow(tmp_path / name, [batch], noted)
        assert open_arrow(tmp_path / name)["number"][:] == [1, 2]
    assert read_note(tmp_path / "noted", "cut") == "7" and read_note(tmp_path / "noted", "other") is None
    assert read_note(tmp_path / "plain", "cut") is None


def test_the_shortest_rows_come_first_and_no_library_warns(recwarn: pytest.WarningsRecorder) -> None:
    rows = Dataset.from_dict({"length": [3, 1, 2, 1], "name": ["a", "b", "c", "d"]})
    assert shortest_first(rows)["name"][:] == ["b", "d", "c", "a"]
    assert [str(warning.message) for warning in recwarn] == []
