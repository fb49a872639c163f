"""Tasks as data, labelled files and what is wrong with them, and the quality of the packaged probe."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from zskd.errors import InputError
from zskd.tasks import TASKS, Task, check_header, read_labelled

# Column names of the official GLUE files: texts, label.
OFFICIAL = {
    "sst2": ("SST-2", ("sentence",), "label"),
    "mnli": ("MNLI", ("sentence1", "sentence2"), "gold_label"),
    "qqp": ("QQP", ("question1", "question2"), "is_duplicate"),
    "qnli": ("QNLI", ("question", "sentence"), "label"),
    "mrpc": ("MRPC", ("#1 String", "#2 String"), "Quality"),
    "rte": ("RTE", ("sentence1", "sentence2"), "label"),
}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@every_task
def test_preset_is_consistent(task: Task) -> None:
    folder, texts, label = OFFICIAL[task.name]
    assert TASKS[task.name] is task
    assert (task.folder, task.text_columns, task.label_column) == (folder, texts, label)
    assert task.num_labels == len(set(task.labels)) >= 2
    assert sorted(task.file_labels.values()) == sorted(task.labels)
    assert task.is_pair == (task.name != "sst2")
    assert len(task.hub_columns) == len(task.text_columns)
    assert task.dev_files.keys() == task.hub_splits.keys() and next(iter(task.dev_files)) == "glue"
    assert task.metrics[0] == "accuracy"
    assert ("f1" in task.metrics) == (task.name in ("qqp", "mrpc"))
    assert sorted(task.teacher_labels.values()) == sorted(task.labels)


def test_the_six_tasks() -> None:
    assert TASKS.keys() == OFFICIAL.keys()
    assert set(TASKS["mnli"].dev_files.values()) == {"dev_matched.tsv", "dev_mismatched.tsv"}


@every_task
def test_files_are_found_from_the_glue_folder_and_from_the_tasks_own(task: Task, tmp_path: Path) -> None:
    (tmp_path / task.folder).mkdir()
    for root in (tmp_path, tmp_path / task.folder):
        assert task.train_file(root) == tmp_path / task.folder / "train.tsv"
        assert set(task.glue_files(root).values()) == {tmp_path / task.folder / n for n in task.dev_files.values()}


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


# The packaged probe.


def probe() -> list[dict[str, str]]:
    path = TASKS["sst2"].probe_path()
    assert path is not None
    header, *rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_probe_is_large_balanced_and_short() -> None:
    rows = probe()
    counts = Counter(row["label"] for row in rows)
    assert len(rows) >= 200 and set(counts) == {"0", "1"} and counts["0"] == counts["1"]
    for row in rows:
        assert 3 <= len(row["sentence"].split()) <= 25, row["sentence"]
    labelled = read_labelled(TASKS["sst2"], str(TASKS["sst2"].probe_path()))
    assert labelled.texts == ([row["sentence"] for row in rows],)


def test_probe_has_every_phenomenon_with_both_labels() -> None:
    seen = {(row["phenomenon"], row["label"]) for row in probe()}
    phenomena = {name for name, _ in seen}
    assert phenomena >= {"negation", "contrast", "irony", "implicit"}
    assert seen == set(itertools.product(phenomena, "01"))


def test_probe_has_no_near_duplicates() -> None:
    bags = [(row["sentence"], set(re.findall(r"[\w']+", row["sentence"].lower()))) for row in probe()]
    for (left, a), (right, b) in itertools.combinations(bags, 2):
        assert len(a & b) < 0.5 * len(a | b), (left, right)
