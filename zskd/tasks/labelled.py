"""Labelled files in GLUE's layout: tab separated, a header line, no quoting.

In a distillation, `read_labelled` is called by the teacher gate (on the probe), after training (on the evaluation
files), and for gold labels that a user adds. `check_header` reads the first line only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zskd.errors import InputError
from zskd.tasks.task import Task


@dataclass(frozen=True)
class Labelled:
    """Labelled rows of one file: `texts` holds one or two lists of strings, `labels` class indices."""

    texts: tuple[list[str], ...]
    labels: list[int]


def check_header(task: Task, path: str | Path) -> list[str]:
    """Problems in the first line of a labelled file; no later byte of the file is read."""
    path = Path(path)
    if not path.is_file():
        return [f"expected a file with the columns of {task.name} at {path}, found none"]
    with path.open("rb", buffering=0) as handle:
        try:
            header = handle.readline().decode("utf-8").rstrip("\r\n").lstrip("\ufeff").split("\t")
        except UnicodeDecodeError:
            return [f"{path}: expected UTF-8 text with tabs, found other bytes in the first line"]
    missing = [name for name in (*task.text_columns, task.label_column) if name not in header]
    if missing:
        return [f"{path}: expected the column(s) {', '.join(missing)} of {task.name}, found {', '.join(header)}"]
    return []


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    # Decoded line by line, so that a wrong byte is found on its own line and not when a block is read ahead.
    with path.open("rb") as handle:
        for number, content in enumerate(handle, start=1):
            try:
                # utf-8-sig: the official QNLI and MRPC files start with a byte-order mark in some copies.
                line = content.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{path}, line {number}: expected UTF-8 text, found other bytes") from error
            if line.strip():
                yield number, line.rstrip("\r\n").split("\t")


def read_labelled(task: Task, path: str | Path) -> Labelled:
    """Read a labelled file in GLUE's columns (tab separated, header line, no quoting).

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
    rows = _rows(path)
    _, header = next(rows)
    columns = [header.index(name) for name in task.text_columns]
    label_column = header.index(task.label_column)
    for number, row in rows:
        if len(row) != len(header):
            raise InputError(f"{path}, line {number}: expected {len(header)} columns, found {len(row)}")
        if row[label_column] not in task.file_labels:
            raise InputError(
                f"{path}, line {number}: expected a label of {task.name} "
                f"({', '.join(task.file_labels)}), found {row[label_column]!r}"
            )
        for store, column in zip(texts, columns, strict=True):
            store.append(row[column].strip())
        labels.append(index[task.file_labels[row[label_column]]])
    if not labels:
        raise InputError(f"{path}: expected labelled rows below the header, found none")
    return Labelled(texts, labels)


def read_column(path: str | Path, name: str) -> list[str]:
    """Values of one column of a labelled file; empty strings if it has no such column."""
    rows = _rows(Path(path))
    _, header = next(rows)
    at = header.index(name) if name in header else None
    return ["" if at is None else row[at] for _, row in rows]
