"""Labelled files in GLUE's layout: tab separated, a header line, no quoting.

In a distillation, `read_labelled` is called by the teacher gate (on the probe), after training (on the evaluation
files), and for gold labels that a user adds. `check_header` reads the first line only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from zskd.errors import InputError
from zskd.system.paths import found_at, is_file
from zskd.system.plain_text import Repairs, found_instead
from zskd.tasks.task import Task

logger = logging.getLogger(__name__)

SHOWN = 200  # characters of a header or a text in a message
LONGEST_HEADER = 1 << 16  # bytes; the header is read byte by byte
SKIP_FLAG = "--skip-bad-rows"
UNQUOTED = "write the file without quotes (pandas: quoting=csv.QUOTE_NONE, no tabs or line breaks in the text)"


@dataclass(frozen=True)
class Labelled:
    """Labelled rows of one file: `texts` holds one or two lists of strings, `labels` class indices.

    `skipped` counts the rows that were left out, because they could not be read.
    """

    texts: tuple[list[str], ...]
    labels: list[int]
    skipped: int = 0


def check_header(task: Task, path: str | Path) -> list[str]:
    """Problems in the first line of a labelled file; no later byte of the file is read."""
    path = Path(path)
    if not is_file(path):
        return [f"expected a file with the columns of {task.name} at {path}, found {found_at(path)}"]
    try:
        with path.open("rb", buffering=0) as handle:
            line = handle.readline(LONGEST_HEADER)
    except OSError as error:
        return [f"{path}: expected a file that can be read, found: {error.strerror}"]
    if len(line) == LONGEST_HEADER:
        advice = "; its lines end with a carriage return alone; write line feeds" if b"\r" in line else ""
        return [f"{path}: expected a header line, found a first line of more than {len(line)} bytes{advice}"]
    try:
        header = _fields(line, first=True)
    except UnicodeDecodeError:
        header = []
    if not header or b"\0" in line:
        return [f"{path}: expected UTF-8 text with tabs, found {found_instead(line)} in the first line"]
    needed = (*task.text_columns, task.label_column)
    if twice := [name for name in needed if header.count(name) > 1]:
        return [f"{path}: expected each column once, found {', '.join(twice)} several times"]
    missing = [name for name in needed if name not in header]
    if not missing and not any("\r" in name for name in header):
        return []
    shown = ", ".join(header) if line.strip() else "an empty first line"
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]} ..."
    return [
        f"{path}: expected the column(s) {', '.join(missing or needed)} of {task.name}, found {shown}"
        + _header_advice(line, needed)
    ]


def _header_advice(line: bytes, needed: tuple[str, ...]) -> str:
    text = line.decode("utf-8-sig").rstrip("\r\n")
    if "\r" in text:
        return "; its lines end with a carriage return alone; write line feeds"
    if set(needed) <= {name.strip('"') for name in text.split("\t")}:
        return f"; {UNQUOTED}"
    if set(needed) <= {name.strip('" ') for name in text.replace(";", ",").split(",")}:
        return "; separate the columns by tabs"
    return ""


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    # Decoded line by line, so that a wrong byte is found on its own line and not when a block is read ahead.
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            # Tabs alone are a row whose columns are empty.
            if line.strip(b" \r\n\v\f"):
                yield number, line


def _fields(line: bytes, *, first: bool) -> list[str]:
    # utf-8-sig: the official QNLI and MRPC files start with a byte-order mark in some copies.
    return line.decode("utf-8-sig" if first else "utf-8").rstrip("\r\n").split("\t")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in _lines(path):
        try:
            yield number, _fields(line, first=number == 1)
        except UnicodeDecodeError as error:
            raise InputError(_wrong_bytes(path, number, line)) from error


def _wrong_bytes(path: Path, number: int, line: bytes) -> str:
    return f"{path}, line {number}: expected UTF-8 text, found {found_instead(line)}"


@dataclass
class _Bad:
    """Rows that cannot be read: an error, or counted."""

    path: Path
    skip: bool | None
    count: int = 0
    first: str = ""

    def add(self, problem: str) -> None:
        if not self.skip:
            advice = "" if self.skip is None else f"; mend the row, or leave such rows out with {SKIP_FLAG}"
            raise InputError(problem + advice)
        self.count += 1
        self.first = self.first or problem

    def say(self) -> None:
        if self.count:
            logger.warning("%s: %d bad row(s) left out; the first: %s", self.path, self.count, self.first)


@dataclass
class _Noticed:
    """What a file's texts look like: written with quotes, or empty."""

    path: Path
    quoted: list[int] = field(default_factory=list)
    example: str = ""
    empty: list[int] = field(default_factory=list)

    def look(self, number: int, text: str) -> None:
        if not text:
            self.empty.append(number)
        elif is_quoted(text):
            self.quoted.append(number)
            self.example = self.example or text[:SHOWN]

    def say(self) -> None:
        if self.quoted:
            logger.warning(
                "%s, line %d: the text %s is written with quotes, as are %d in all; quotes are read as they stand, so "
                "%s",
                self.path,
                self.quoted[0],
                self.example,
                len(self.quoted),
                UNQUOTED,
            )
        if self.empty:
            logger.warning("%s, line %d: an empty text; there are %d", self.path, self.empty[0], len(self.empty))


def is_quoted(text: str) -> bool:
    """True for a text as a CSV writer quotes it: in quotes, and every quote within it doubled.

    A text in quotes without one inside is common in labelled files; only doubled ones tell of a CSV writer.
    """
    if len(text) < 4 or text[0] != '"' or text[-1] != '"':
        return False
    inner = text[1:-1]
    return '""' in inner and '"' not in inner.replace('""', "")


def read_labelled(task: Task, path: str | Path, *, skip_bad_rows: bool | None = None) -> Labelled:
    """Read a labelled file in GLUE's columns (tab separated, header line, no quoting).

    Args:
        skip_bad_rows: leave out rows that are not UTF-8, have the wrong number of columns or an unknown label, and log
            how many; False: they are errors that name the flag; None: the caller has no such flag.

    Raises:
        InputError: the file or a column is missing, a line is not UTF-8, a row has the wrong number of columns or an
            unknown label, or there are no rows; the message names the line.
    """
    path = Path(path)
    if problems := check_header(task, path):
        raise InputError(problems)
    texts: tuple[list[str], ...] = tuple([] for _ in task.text_columns)
    labels: list[int] = []
    index = {name: i for i, name in enumerate(task.labels)}
    bad, noticed, repairs = _Bad(path, skip_bad_rows), _Noticed(path), Repairs()
    lines = _lines(path)
    header = _fields(next(lines)[1], first=True)
    columns = [header.index(name) for name in task.text_columns]
    label_column = header.index(task.label_column)
    for number, line in lines:
        where = f"{path}, line {number}"
        try:
            row = _fields(line, first=False)
        except UnicodeDecodeError:
            bad.add(_wrong_bytes(path, number, line))
            continue
        if len(row) != len(header):
            bad.add(f"{where}: expected {len(header)} columns, found {len(row)}{_open_quote(row)}")
            continue
        if row[label_column] not in task.file_labels:
            bad.add(
                f"{where}: expected a label of {task.name} ({', '.join(task.file_labels)}), found "
                + (repr(row[label_column][:SHOWN]) if row[label_column] else "an empty label ('')")
            )
            continue
        for store, column in zip(texts, columns, strict=True):
            text = repairs.repair(row[column].strip(), where)
            noticed.look(number, text)
            store.append(text)
        labels.append(index[task.file_labels[row[label_column]]])
    for found in (bad, noticed, repairs):
        found.say()
    if not labels:
        raise InputError(
            f"{path}: expected labelled rows below the header, found none"
            + (f" but {bad.count} bad one(s), the first: {bad.first}" if bad.count else "")
        )
    return Labelled(texts, labels, bad.count)


def check_classes(task: Task, rows: Labelled, source: str) -> None:
    """Raise InputError if all rows to train on are of one class; log the classes that have no row."""
    there = set(rows.labels)
    absent = [name for number, name in enumerate(task.labels) if number not in there]
    if len(there) == 1:
        raise InputError(
            f"{source}: expected training rows of at least two classes, found only {task.labels[there.pop()]} in "
            f"{len(rows.labels)} row(s); add rows of others"
        )
    if absent:
        logger.warning("%s: no training row of %s, which the teacher will not learn", source, ", ".join(absent))


def _open_quote(row: list[str]) -> str:
    if any(text.startswith('"') and text.count('"') % 2 for text in row):
        return f", one of which opens a quote that it does not close; {UNQUOTED}"
    return ""


def read_column(path: str | Path, name: str) -> list[str]:
    """Values of one column of a labelled file; empty strings if it has no such column."""
    rows = _rows(Path(path))
    _, header = next(rows)
    at = header.index(name) if name in header else None
    return ["" if at is None else row[at] for _, row in rows]
