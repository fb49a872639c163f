"""Every kind of corpus source gives its documents, and every wrong one is named with flag and path."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import prose

from zskd.errors import InputError
from zskd.system.files import sha256_file
from zskd.text.sources import check_source, documents, find_sources

LINES = prose(40)
TEXT = "\n".join(LINES) + "\n"


def read(*names: Path) -> list[str]:
    return [
        document.strip() for source in find_sources([str(name) for name in names]) for document in documents(source)
    ]


def write_txt(path: Path) -> None:
    path.write_text(TEXT, encoding="utf-8")


def write_gz(path: Path) -> None:
    path.write_bytes(gzip.compress(TEXT.encode()))


def write_jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(LINES)), encoding="utf-8")


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table({"id": range(len(LINES)), "text": LINES}), path)


WRITERS: dict[str, Callable[[Path], None]] = {
    "a.txt": write_txt, "b.txt.gz": write_gz, "c.jsonl": write_jsonl, "d.parquet": write_parquet,
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_every_file_type_gives_the_same_documents(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    assert check_source(str(path)) == []
    assert read(path) == LINES
    (source,) = find_sources([str(path)])
    assert (source.kind, source.name, source.identity) == ("file", str(path), sha256_file(path))


def test_a_folder_is_searched_to_any_depth_in_a_fixed_order(tmp_path: Path) -> None:
    for name, writer in WRITERS.items():
        path = tmp_path / name[0] / name
        path.parent.mkdir()
        writer(path)
    (tmp_path / "README.md").write_text("not a corpus")
    assert [Path(source.name).name for source in find_sources([str(tmp_path)])] == list(WRITERS)
    assert read(tmp_path) == LINES * len(WRITERS)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_both_texts_of_a_pair_belong_to_one_document(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"pairs.{kind}"
    records = [{"text_a": a, "text_b": b} for a, b in zip(LINES[::2], LINES[1::2], strict=True)]
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(records), path)
    assert read(path) == ["\n".join(record.values()) for record in records]


def test_blank_lines_are_no_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n\n" + TEXT.replace("\n", "\n\n \n"), encoding="utf-8")
    assert read(path) == LINES


def parquet_bytes(damage: bool = False, **columns: list[str | None]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="gzip", use_dictionary=False)
    content = sink.getvalue().to_pybytes()
    return content[:60] + b"\xff" * 200 + content[260:] if damage else content


GOOD_ROW = b'{"text": "A fine line of text."}\n'
WRONG: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "empty": ("a.txt", b"", ("empty",)),
    "binary": ("a.txt", b"\x7fELF\0\0\x01" * 20, ("binary",)),
    "binary further on": ("a.txt", TEXT.encode() * 40 + b"\0", ("binary", "line 1601")),
    "not UTF-8": ("a.txt", TEXT.encode() + b"caf\xe9\n", ("UTF-8",)),
    "other suffix": ("a.docx", b"text", (".txt .txt.gz .jsonl .parquet", ".docx")),
    "no gzip": ("a.txt.gz", TEXT.encode(), ("gzip",)),
    "gzip cut short": ("a.txt.gz", gzip.compress(TEXT.encode())[:-20], ("gzip",)),
    "gzip with wrong bytes": ("a.txt.gz", gzip.compress(TEXT.encode())[:40] + b"\xff" * 99, ("gzip",)),
    "gzip not UTF-8": ("a.txt.gz", gzip.compress(b"caf\xe9\n"), ("UTF-8",)),
    "no JSON": ("a.jsonl", GOOD_ROW + b"{'text': 1}\n", ("line 2", "JSON")),
    "no JSON below a blank line": ("a.jsonl", GOOD_ROW + b"\n\n" + b"{oh no}\n", ("line 4", "JSON")),
    "no JSON object": ("a.jsonl", GOOD_ROW + b'["text"]\n', ("line 2", "list")),
    "JSON without text": ("a.jsonl", GOOD_ROW + b'{"body": "Hello."}\n', ("line 2", "`text`", "body")),
    "JSON text is a number": ("a.jsonl", GOOD_ROW + b'{"text": 3}\n', ("line 2", "`text`")),
    "no parquet": ("a.parquet", TEXT.encode(), ("parquet",)),
    "parquet cut short": ("a.parquet", parquet_bytes(text=LINES)[:-30], ("parquet",)),
    "parquet with wrong bytes": ("a.parquet", parquet_bytes(damage=True, text=LINES), ("parquet",)),
    "parquet without text": ("a.parquet", parquet_bytes(body=LINES), ("`text`", "body")),
    "parquet without a value": ("a.parquet", parquet_bytes(text=["Hello.", None]), ("`text`",)),
}  # fmt: skip


@pytest.mark.parametrize("name, content, parts", WRONG.values(), ids=WRONG)
def test_wrong_sources_name_flag_and_path(name: str, content: bytes, parts: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.exit_code == 2
    for part in ("--corpus", str(path), *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["absent.txt", "absent", "absent.parquet"])
def test_missing_source_is_found_by_the_check(name: str, tmp_path: Path) -> None:
    (problem,) = check_source(str(tmp_path / name))
    assert problem.startswith(f"--corpus {tmp_path / name}:") and "no such file" in problem
    with pytest.raises(InputError, match="no such file"):
        find_sources([str(tmp_path / name)])


def test_a_file_name_without_folder_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no such file" in check_source("absent.txt.gz")[0]


def test_folder_without_readable_files(tmp_path: Path) -> None:
    (problem,) = check_source(str(tmp_path))
    assert str(tmp_path) in problem and ".jsonl" in problem


def test_all_wrong_sources_are_reported_together(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "odd.pdf").write_text("x")
    with pytest.raises(InputError) as caught:
        find_sources([str(tmp_path / name) for name in ("empty.txt", "odd.pdf", "absent.txt")])
    assert len(caught.value.problems) == 3


def test_a_hub_data_set_without_network_names_the_ways_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert check_source("Salesforce/wikitext:wikitext-2-raw-v1") == []  # asked for when the corpus is read
    with pytest.raises(InputError, match=r"--corpus Salesforce/wikitext: .*--config embedded"):
        find_sources(["Salesforce/wikitext:wikitext-2-raw-v1"])


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    (problem,) = check_source(str(tmp_path / "a.txt"))
    assert problem.startswith(f"--corpus {tmp_path / 'a.txt'}: expected a file, found a pipe")


def test_a_file_or_folder_that_must_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    write_txt(tmp_path / "a.txt")
    monkeypatch.setattr(Path, "open", refuse)
    (problem,) = check_source(str(tmp_path))
    assert problem == f"--corpus {tmp_path / 'a.txt'}: expected a file that can be read, found: Permission denied"
    monkeypatch.setattr("os.scandir", refuse)
    (problem,) = check_source(str(tmp_path))
    assert problem == f"--corpus {tmp_path}: expected a folder that can be opened, found: Permission denied"
