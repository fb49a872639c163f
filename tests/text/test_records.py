"""Hostile records: each is read, or refused with file, place, what was expected and what was found."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from zskd.errors import InputError
from zskd.text.records import kind, read_lines
from zskd.text.sources import Source, documents, find_sources

GOOD = '{"text": "A fine line of text."}\n'


def read(path: Path) -> list[str]:
    return [text for source in find_sources([str(path)]) for text in documents(source)]


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.exit_code == 2
    for part in (f"--corpus {path}", "expected", *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize("escape", ["\\ud83d", "\\udc00", "\\ud83d\\ud83d", "\\u0000", "\\udc00\\ud83d"])
def test_a_character_that_no_text_has_is_replaced_and_said(
    escape: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(GOOD + f'{{"text": "So {escape} fine."}}\n' * 2, encoding="utf-8")
    count = escape.count("\\")
    assert read(path)[1:] == [f"So {count * chr(0xFFFD)} fine."] * 2
    (message,) = caplog.messages
    assert message.startswith(f"{path}, line 2:")
    assert f"{2 * count} such character(s) in 2 text(s)" in message


def test_an_escaped_pair_is_one_character(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00"}\n', encoding="utf-8")
    assert read(path) == ["\N{GRINNING FACE}"]
    assert caplog.messages == []


REFUSED: dict[str, tuple[str, str]] = {
    "null": ('{"text": null}', "text in `text`, found null"),
    "a number": ('{"text": 5}', "found the number 5"),
    "no number": ('{"text": NaN}', "found the number nan"),
    "a truth value": ('{"text": true}', "found true"),
    "a list": ('{"text": ["a"]}', "found a list"),
    "an object": ('{"text": {"en": "a"}}', "found an object"),
    "null beside a text": ('{"text": "a", "text_b": null}', "text in `text_b`, found null"),
    "text_b alone": ('{"text_b": "a"}', "`text_a` and `text_b`; found text_b"),
    "text_a alone": ('{"text_a": "a"}', "`text_a` and `text_b`; found text_a"),
    "nothing": ("{}", "found no field"),
    "text twice": ('{"text": "a", "text": "b"}', "one `text`, found several"),
    "a list for an object": ('[{"text": "a"}]', "a JSON object, found a list"),
    "a lone surrogate for a name": ('{"\\ud83d": "a"}', "found \\ud83d"),
    "a string for an object": ('"text"', "a JSON object, found a string"),
    "null for an object": ("null", "a JSON object, found null"),
    "many brackets": ('{"text": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    "two records": ('{"text": "a"} {"text": "b"}', "one JSON object a line"),
    "a huge number": ('{"text": ' + "9" * 5_000 + "}", "found the number inf"),
    "other fields": (json.dumps({f"field {i}": 1 for i in range(99)}), "found field 0, field 1"),
}


@pytest.mark.parametrize("line, found", REFUSED.values(), ids=REFUSED)
def test_a_record_without_text_is_named(line: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(GOOD + "\n" + line + "\n", encoding="utf-8")
    refused(path, "line 3", found)


READ: dict[str, tuple[str, str]] = {
    "a huge number elsewhere": ('{"id": ' + "9" * 5_000 + ', "text": "a"}', "a"),
    "NaN elsewhere": ('{"score": NaN, "text": "a"}', "a"),
    "the name within a text": ('{"text": "say \\"text\\" or \\"text\\""}', 'say "text" or "text"'),
    "the name within another field": ('{"text": "a", "meta": {"text": "b"}}', "a"),
    "both texts": ('{"text_b": "b", "text_a": "a"}', "a\nb"),
    "text and text_b": ('{"text": "a", "text_b": "b"}', "a\nb"),
    "line separators": ('{"text": "a\u2028b\u2029c\x85d"}', "a\u2028b\u2029c\x85d"),
    "many brackets in a text": (json.dumps({"text": "[" * 20_000}), "[" * 20_000),
}


@pytest.mark.parametrize("line, text", READ.values(), ids=READ)
def test_odd_records_with_text_are_read(line: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    assert read(path) == [text]


def test_empty_texts_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(GOOD + '{"text": ""}\n{"text": " \\n"}\n' + GOOD, encoding="utf-8")
    assert len(read(path)) == 4
    assert caplog.messages == [f"{path}, line 2: an empty text; there are 2 such record(s)"]


ENDS = {"line feed": "\n", "both": "\r\n", "carriage return": "\r"}


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte-order mark"])
def test_marks_and_line_ends_are_no_text(name: str, end: str, mark: str, tmp_path: Path) -> None:
    texts = ["A fine\u2028line.", "An\x0cother\x85 one."]
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts] if "json" in name else texts
    content = "".join(mark + line + end for line in lines).encode()  # files that were joined have several marks
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert [text.rstrip("\n") for text in read(path)] == texts


WRONG_BYTES: dict[str, tuple[bytes, str]] = {
    "UTF-16": ("A fine line.\n".encode("utf-16"), "line 1: expected UTF-8 text, found UTF-16 text; convert it"),
    "UTF-16 without a mark": ("A fine line.\n".encode("utf-16-le"), "line 1: expected UTF-8 text, found UTF-16"),
    "UTF-32": ("A fine line.\n".encode("utf-32"), "line 1: expected UTF-8 text, found UTF-32 text"),
    "Latin-1": (b"fine\n" * 9_000 + b"caf\xe9\n" + b"fine\n" * 9, "line 9001: expected UTF-8 text, found other bytes"),
    "a surrogate as bytes": (b"fine\n\xed\xa0\xbd\n", "line 2: expected UTF-8 text, found other bytes"),
    "gzip within": (gzip.compress(b"fine\n"), "line 1: expected UTF-8 text, found a gzip file"),
    "a program": (b"\x7fELF\0\0\x01\xff" * 20, "line 1: expected UTF-8 text, found binary data"),
}


@pytest.mark.parametrize("content, found", WRONG_BYTES.values(), ids=WRONG_BYTES)
def test_other_encodings_are_named_with_their_line(content: bytes, found: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(content))
    refused(path, found)
    plain = tmp_path / "a.txt"
    plain.write_bytes(content)
    refused(plain, found.partition(": ")[2])


def table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


STRINGS: dict[str, pa.DataType] = {
    "string": pa.string(), "large_string": pa.large_string(), "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "dictionary of large strings": pa.dictionary(pa.int8(), pa.large_string()),
}  # fmt: skip


@pytest.mark.parametrize("found", STRINGS.values(), ids=STRINGS)
def test_every_type_of_string_is_text(found: pa.DataType, tmp_path: Path) -> None:
    texts = ["one", "two", "one"]
    assert read(table(tmp_path / "a.parquet", text=pa.array(texts).cast(found), more=[1, 2, 3])) == texts
    with_null = pa.array([*texts * 500, None, "three"]).cast(found)
    refused(table(tmp_path / "b.parquet", text=with_null), "row 1500", "found null")


OTHER_TYPES: dict[str, pa.Array] = {
    "int64": pa.array([1, 2]), "null": pa.array([None, None]), "list<element: string>": pa.array([["a"], ["b"]]),
    "binary": pa.array([b"a", b"b"]), "bool": pa.array([True, False]), "double": pa.array([1.0, float("nan")]),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_TYPES)
def test_a_column_of_another_type_is_named(name: str, tmp_path: Path) -> None:
    refused(table(tmp_path / "a.parquet", text=OTHER_TYPES[name]), f"text in the column `text`, found {name}")


def test_parquet_texts_are_repaired_and_wrong_bytes_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(table(tmp_path / "a.parquet", text=["fine", "a\0b"])) == ["fine", "a\ufffdb"]
    assert f"{tmp_path / 'a.parquet'}, row 1:" in caplog.text
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\4\0\0\0\7\0\0\0"), pa.py_buffer(b"fine\xed\xa0\xbd")]
    )
    refused(table(tmp_path / "b.parquet", text=broken), "row 1", "UTF-8")


def test_one_name_for_two_columns(tmp_path: Path) -> None:
    both = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(both, tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "one column `text`, found 2")


def hub(rows: Dataset, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: rows)
    return list(documents(Source("hub", "me/texts", "commit")))


def test_rows_of_the_hub_are_checked_like_any(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert hub(Dataset.from_dict({"text": ["fine", "a\0b"], "n": [1, 2]}), monkeypatch) == ["fine", "a\ufffdb"]
    assert caplog.messages[0].startswith("me/texts, row 1:")
    for column, found in (
        (["fine", None], "me/texts, row 1: expected text in `text`, found null"),
        ([None, None], "me/texts, row 0: expected text in `text`, found null"),
        ([1, 2], "me/texts, row 0: expected text in `text`, found the number 1"),
    ):
        with pytest.raises(InputError, match=found):
            hub(Dataset.from_dict({"text": column}), monkeypatch)
    with pytest.raises(InputError, match="me/texts: expected a column `text`, found body"):
        hub(Dataset.from_dict({"body": ["fine"]}), monkeypatch)


def test_an_unknown_configuration_of_the_hub_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise ValueError("Unknown split 'train'. Should be one of ['test'].")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    with pytest.raises(InputError, match=r"--corpus me/texts: .*should be one of|--corpus me/texts: .*Unknown split"):
        list(documents(Source("hub", "me/texts", "commit")))


def test_only_the_text_columns_of_the_hub_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Dataset.from_dict({"text": ["fine"], "image": ["large"]})
    asked: list[list[str]] = []
    plain = Dataset.select_columns
    monkeypatch.setattr(Dataset, "select_columns", lambda self, names: asked.append(names) or plain(self, names))
    assert hub(rows, monkeypatch) == ["fine"]
    assert asked == [["text"]]


def test_kinds_are_named_in_the_words_of_json() -> None:
    assert [kind(value) for value in (None, True, 1, 2.5, [], {}, b"")] == [
        "null", "true", "the number 1", "the number 2.5", "a list", "an object", "bytes",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl"])
def test_a_file_that_vanishes_while_text_is_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=f"--corpus {tmp_path}/{name}: expected a file that can be read, found: No such"
    ):
        list(read_lines(tmp_path / name))


def test_a_corpus_that_was_repaired_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a\\ud83d"}\n' * 50, encoding="utf-8")
    with caplog.at_level(logging.INFO, "zskd"):
        read(path)
    assert len(caplog.messages) == 1
