"""Tasks as data: what a classifier reads, what it answers, and where labelled files of the task lie.

A `Task` holds names only. Reading labelled rows is `read_labelled`, which the walk calls once for the
teacher gate (on the packaged probe) and once more after training (on the evaluation files).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from zskd.errors import InputError

HUB_DATA = "nyu-mll/glue"
DEFAULT_STUDENT = "google/bert_uncased_L-4_H-256_A-4"


@dataclass(frozen=True)
class Task:
    """One classification task with one or two input texts.

    Attributes:
        name: the name behind ``--task``.
        text_columns: one or two column names in GLUE's own files.
        label_column: the label's column name in GLUE's own files.
        labels: label names in the order of the class index.
        file_labels: a label as written in the file -> label name.
        folder: the task's folder in the official GLUE download.
        dev_files: evaluation set name -> file name inside `folder`.
        hub_config: configuration of `HUB_DATA` on the Hub.
        hub_splits: evaluation set name -> Hub split.
        hub_columns: text columns on the Hub.
        metrics: names that the shipped metric module reports; the first is the main score.
        teacher: the default teacher on the Hub.
        teacher_labels: label names of the default teacher when its configuration says LABEL_i.
    """

    name: str
    text_columns: tuple[str, ...]
    label_column: str
    labels: tuple[str, ...]
    file_labels: dict[str, str]
    folder: str
    dev_files: dict[str, str]
    hub_config: str
    hub_splits: dict[str, str]
    hub_columns: tuple[str, ...]
    metrics: tuple[str, ...] = ("accuracy",)
    teacher: str = ""
    student: str = DEFAULT_STUDENT
    teacher_labels: dict[str, str] = field(default_factory=dict)

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return len(self.labels)

    @property
    def is_pair(self) -> bool:
        """True where the classifier reads two texts."""
        return len(self.text_columns) == 2

    def probe_path(self) -> Path | None:
        """Path of the packaged probe, or None where the task has none."""
        path = Path(str(resources.files("zskd"))) / "assets" / "probes" / f"{self.name}.tsv"
        return path if path.is_file() else None

    def adapter_path(self) -> Path | None:
        """Folder of the packaged teacher adapter for the embedded backbone, or None."""
        path = Path(str(resources.files("zskd"))) / "assets" / "adapters" / self.name
        return path if (path / "adapter_config.json").is_file() else None

    def glue_files(self, glue_dir: str | Path) -> dict[str, Path]:
        """Evaluation set name -> path below `glue_dir`, which may be the GLUE folder or the task's own."""
        root = Path(glue_dir)
        folder = root / self.folder if (root / self.folder).is_dir() else root
        return {name: folder / file for name, file in self.dev_files.items()}

    def train_file(self, glue_dir: str | Path) -> Path:
        """Path of the training file below `glue_dir`."""
        root = Path(glue_dir)
        return (root / self.folder if (root / self.folder).is_dir() else root) / "train.tsv"


def _glue(
    name: str,
    folder: str,
    texts: tuple[str, ...],
    label: str,
    labels: tuple[str, ...],
    *,
    file_labels: dict[str, str] | None = None,
    hub_columns: tuple[str, ...] | None = None,
    dev_files: dict[str, str] | None = None,
    hub_splits: dict[str, str] | None = None,
    metrics: tuple[str, ...] = ("accuracy",),
) -> Task:
    return Task(
        name=name,
        text_columns=texts,
        label_column=label,
        labels=labels,
        file_labels=file_labels or {str(i): value for i, value in enumerate(labels)},
        folder=folder,
        dev_files=dev_files or {"glue": "dev.tsv"},
        hub_config=name,
        hub_splits=hub_splits or {"glue": "validation"},
        hub_columns=hub_columns or texts,
        metrics=metrics,
        teacher=f"yoshitomo-matsubara/bert-large-uncased-{name}",
        teacher_labels={f"LABEL_{i}": value for i, value in enumerate(labels)},
    )


_TWO_WAY = ("entailment", "not_entailment")
_THREE_WAY = ("entailment", "neutral", "contradiction")

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _glue("sst2", "SST-2", ("sentence",), "label", ("negative", "positive")),
        _glue(
            "mnli",
            "MNLI",
            ("sentence1", "sentence2"),
            "gold_label",
            _THREE_WAY,
            file_labels={value: value for value in _THREE_WAY},
            hub_columns=("premise", "hypothesis"),
            dev_files={"glue": "dev_matched.tsv", "glue_mismatched": "dev_mismatched.tsv"},
            hub_splits={"glue": "validation_matched", "glue_mismatched": "validation_mismatched"},
        ),
        _glue(
            "qqp",
            "QQP",
            ("question1", "question2"),
            "is_duplicate",
            ("not_duplicate", "duplicate"),
            metrics=("accuracy", "f1"),
        ),
        _glue(
            "qnli",
            "QNLI",
            ("question", "sentence"),
            "label",
            _TWO_WAY,
            file_labels={value: value for value in _TWO_WAY},
        ),
        _glue(
            "mrpc",
            "MRPC",
            ("#1 String", "#2 String"),
            "Quality",
            ("not_equivalent", "equivalent"),
            hub_columns=("sentence1", "sentence2"),
            metrics=("accuracy", "f1"),
        ),
        _glue(
            "rte",
            "RTE",
            ("sentence1", "sentence2"),
            "label",
            _TWO_WAY,
            file_labels={value: value for value in _TWO_WAY},
        ),
    )
}


@dataclass(frozen=True)
class Labelled:
    """Labelled rows of one file: `texts` holds one or two lists of strings, `labels` class indices."""

    texts: tuple[list[str], ...]
    labels: list[int]


def check_header(task: Task, path: str | Path) -> list[str]:
    """Problems of a labelled file that its first line shows; no later byte of the file is read."""
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
        InputError: no such file or column, not UTF-8, a row with the wrong number of columns, an unknown
            label, or no row at all; the message names the line.
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
