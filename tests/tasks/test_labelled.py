"""Labelled files: GLUE's columns, and what is wrong with a file and on which line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from zskd.errors import InputError
from zskd.tasks.labelled import Labelled, check_header, read_column, read_labelled
from zskd.tasks.task import TASKS, Task

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
TOPICS = Task(name="topics", text_columns=("headline",), label_column="topic", labels=("b", "a", "c"))


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@every_task
def test_official_columns_are_read_wherever_they_stand(task: Task, tmp_path: Path) -> None:
    header = ["index", task.label_column, *task.text_columns, "more"]
    rows = [["7", key, *(f"{name} of {key}" for name in task.text_columns), "x"] for key in task.file_labels]
    path = write(tmp_path / "dev.tsv", "\n".join("\t".join(row) for row in [header, *rows]))
    read = read_labelled(task, path)
    assert read.labels == [task.labels.index(label) for label in task.file_labels.values()]
    assert read.texts == tuple([f"{name} of {key}" for key in task.file_labels] for name in task.text_columns)


def test_no_quoting_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    rows = ['"an open quote\t1', "", ' it \'s "fine" \t0', "form\x0cfeed \x85\u2028 stays\t1"]
    content = "\r\n".join(["\ufeffsentence\tlabel", *rows, ""])
    read = read_labelled(TASKS["sst2"], write(tmp_path / "dev.tsv", content))
    assert read.texts == (['"an open quote', 'it \'s "fine"', "form\x0cfeed \x85\u2028 stays"],)
    assert read.labels == [1, 0, 1]


HEAD = "sentence\tlabel\n"
WRONG: dict[str, tuple[Any, tuple[str, ...]]] = {
    "row too short": (HEAD + "fine\t1\n\nno label\n", ("line 4", "2 columns", "found 1")),
    "row too long": (HEAD + "fine\t1\nfine\t1\tmore\n", ("line 3", "2 columns", "found 3")),
    "unknown label": (HEAD + "fine\t1\nfine\t2\n", ("line 3", "0, 1", "'2'")),
    "label name": (HEAD + "fine\tpositive\n", ("line 2", "'positive'")),
    "missing column": ("text\tlabel\nfine\t1\n", ("sentence", "found text, label")),
    "missing columns": ("a\tb\n", ("sentence, label", "sst2")),
    "not UTF-8 in a row": (HEAD.encode() + b"fine\t1\n" * 5_000 + b"caf\xe9\t1\n", ("line 5002", "UTF-8")),
    "not UTF-8 in the header": (b"sentence\xff\tlabel\nfine\t1\n", ("UTF-8", "first line")),
    "empty": ("", ("sentence", "label")),
    "only a header": (HEAD, ("rows", "none")),
}


@pytest.mark.parametrize("content, parts", WRONG.values(), ids=WRONG)
def test_wrong_files_are_named_with_the_line(content: str | bytes, parts: tuple[str, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "dev.tsv", content)
    with pytest.raises(InputError) as caught:
        read_labelled(TASKS["sst2"], path)
    assert caught.value.exit_code == 2
    for part in (str(path), *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["absent.tsv", "."])
def test_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(str(tmp_path / name))):
        read_labelled(TASKS["rte"], tmp_path / name)


@pytest.mark.parametrize("header", ["sentence\tlabel\n", "\ufeffsentence\tlabel\r\n", "wrong\tnames\n"])
def test_header_check_reads_no_byte_beyond_the_first_line(
    header: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "dev.tsv", header.encode() + b"\xff\xfe not a row\n" * 9_000)
    copies: list[int] = []
    plain_open = Path.open

    def spy(self: Path, *args: Any, **kwargs: Any) -> Any:
        handle = plain_open(self, *args, **kwargs)
        copies.append(os.dup(handle.fileno()))  # shares the kernel's file position, so read-ahead would show
        return handle

    monkeypatch.setattr(Path, "open", spy)
    problems = check_header(TASKS["sst2"], path)
    (copy,) = copies
    try:
        assert os.lseek(copy, 0, os.SEEK_CUR) == len(header.encode())
    finally:
        os.close(copy)
    assert bool(problems) == header.startswith("wrong")
    if not problems:
        with pytest.raises(InputError, match="UTF-8"):
            read_labelled(TASKS["sst2"], path)


def test_a_task_without_file_labels_reads_names_and_class_numbers(tmp_path: Path) -> None:
    rows = "\n".join(f"text {key}\t{key}" for key in ("a", "0", "b", "2", "c", "1"))
    read = read_labelled(TOPICS, write(tmp_path / "dev.tsv", f"headline\ttopic\n{rows}\n"))
    assert [TOPICS.labels[i] for i in read.labels] == ["a", "b", "b", "c", "c", "a"]
    for wrong in ("3", "A", "", "-1"):
        path = write(tmp_path / "wrong.tsv", f"headline\ttopic\nfine\ta\nfine\t{wrong}\n")
        with pytest.raises(InputError, match=f"line 3.*{wrong!r}"):
            read_labelled(TOPICS, path)


def test_one_column_is_read_beside_the_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "dev.tsv", "headline\tremark\ttopic\none\tx\ta\n\ntwo\t\tb\nthree\tz\tc\n")
    assert read_column(path, "remark") == ["x", "", "z"]
    assert read_column(path, "topic") == ["a", "b", "c"]
    assert read_column(path, "absent") == [""] * len(read_labelled(TOPICS, path).labels)


QUOTED = '"a ""fine"" film"'
PLAIN = ['"Quoted whole."', 'He said "fine".', '"A" and "B"', '"an open quote', '""', '"""', '"" twice ""', 'a ""']


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_quotes_are_not_a_csv_writer_s(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read = read_labelled(TASKS["sst2"], write(tmp_path / "dev.tsv", f"{HEAD}{text}\t1\n"))
    assert read.texts == ([text],)
    assert "quotes" not in caplog.text


def test_a_file_of_pandas_is_read_as_it_stands_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import pandas as pd

    path = tmp_path / "dev.tsv"
    texts = ["plain", 'a "fine" film', '"fine"', 'it is "fine"']
    pd.DataFrame({"sentence": texts, "label": 1}).to_csv(path, sep="\t", index=False)
    read = read_labelled(TASKS["sst2"], path)
    assert read.texts == (["plain", QUOTED, '"""fine"""', '"it is ""fine"""'],)
    (message,) = caplog.messages
    assert message.startswith(f"{path}, line 3: the text {QUOTED} is written with quotes, as are 3 in all")
    assert "csv.QUOTE_NONE" in message

    import csv

    pd.DataFrame({"sentence": texts, "label": 1}).to_csv(path, sep="\t", index=False, quoting=csv.QUOTE_NONE)
    assert read_labelled(TASKS["sst2"], path).texts == (texts,)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("text, found", [("one\ttwo", "found 3"), ("one\ntwo", "found 1")], ids=["tab", "line break"])
def test_a_quoted_field_that_is_torn_apart_is_named(text: str, found: str, tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / "dev.tsv"
    pd.DataFrame({"sentence": ["plain", text], "label": 1}).to_csv(path, sep="\t", index=False)
    with pytest.raises(
        InputError, match=f"line 3: expected 2 columns, {found}, one of which opens a quote.*QUOTE_NONE"
    ):
        read_labelled(TASKS["sst2"], path)


HEADERS = {
    "quotes": (b'"sentence"\t"label"\n"fine"\t"1"\n', "csv.QUOTE_NONE"),
    "commas": (b"sentence,label\nfine,1\n", "separate the columns by tabs"),
    "carriage returns alone": (b"sentence\tlabel\rfine\t1\r", "carriage return"),
    "a column twice": (b"sentence\tsentence\tlabel\nfine\tdull\t1\n", "found sentence several times"),
    "UTF-16": ("sentence\tlabel\nfine\t1\n".encode("utf-16"), "found UTF-16 text; convert it"),
    "UTF-16 without a mark": ("sentence\tlabel\nfine\t1\n".encode("utf-16-le"), "found UTF-16 text; convert it"),
    "gzip": (b"\x1f\x8b\x08\0\0\0\xff\xfe\n", "found a gzip file"),
    "no line at all": (b"x" * 200_000, "found a first line of more than 65536 bytes"),
    "many carriage returns": (b"sentence\tlabel\r" + b"fine\t1\r" * 20_000, "carriage return alone"),
    "nothing": (b"", "found an empty first line"),
    "a blank line": (b"\r\nfine\t1\n", "found an empty first line"),
    "a long line": (b"x" * 9_000 + b"\n", "found " + "x" * 200 + " ..."),
}


@pytest.mark.parametrize("content, found", HEADERS.values(), ids=HEADERS)
def test_a_header_of_another_kind_says_what_to_do(content: bytes, found: str, tmp_path: Path) -> None:
    (problem,) = check_header(TASKS["sst2"], write(tmp_path / "dev.tsv", content))
    assert problem.startswith(f"{tmp_path / 'dev.tsv'}: expected") and found in problem
    assert len(problem) < 600


def test_a_file_that_must_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "dev.tsv", HEAD + "fine\t1\n")
    monkeypatch.setattr(Path, "open", refuse)
    assert check_header(TASKS["sst2"], path) == [f"{path}: expected a file that can be read, found: Permission denied"]


BAD_ROWS = {
    "too short": (b"fine", "expected 2 columns, found 1"),
    "too long": (b"fine\t1\tmore", "expected 2 columns, found 3"),
    "unknown label": (b"fine\t7", "found '7'"),
    "empty label": (b"fine\t", "found an empty label"),
    "tabs alone": (b"\t", "found an empty label"),
    "not UTF-8": (b"caf\xe9\t1", "expected UTF-8 text, found other bytes"),
}


@pytest.mark.parametrize("row, found", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_an_error_that_names_the_flag_or_is_left_out(
    row: bytes, found: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "dev.tsv", HEAD.encode() + b"good\t1\n\n" + row + b"\nbad\t0\n" + row + b"\n")
    with pytest.raises(InputError) as caught:
        read_labelled(TASKS["sst2"], path, skip_bad_rows=False)
    assert f"{path}, line 4: " in str(caught.value) and found in str(caught.value)
    assert "--skip-bad-rows" in str(caught.value)
    with pytest.raises(InputError) as caught:
        read_labelled(TASKS["sst2"], path)
    assert "--skip-bad-rows" not in str(caught.value), "the caller has no such flag"
    read = read_labelled(TASKS["sst2"], path, skip_bad_rows=True)
    assert read == Labelled((["good", "bad"],), [1, 0], skipped=2)
    (message,) = caplog.messages
    assert message.startswith(f"{path}: 2 bad row(s) left out; the first: {path}, line 4: ") and found in message


def test_bad_rows_alone_are_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "dev.tsv", HEAD + "fine\n" * 3)
    with pytest.raises(InputError, match=r"found none but 3 bad one.*line 2: expected 2 columns"):
        read_labelled(TASKS["sst2"], path, skip_bad_rows=True)


def test_empty_texts_and_nul_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read = read_labelled(TASKS["sst2"], write(tmp_path / "dev.tsv", HEAD + "fine\t1\n \t0\na\0b\t0\n\t1\n"))
    assert read == Labelled((["fine", "", "a\ufffdb", ""],), [1, 0, 0, 1])
    empty, nul = caplog.messages
    assert empty == f"{tmp_path / 'dev.tsv'}, line 3: an empty text; there are 2"
    assert nul.startswith(f"{tmp_path / 'dev.tsv'}, line 4: ")
