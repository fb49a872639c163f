"""Tasks as data: the presets, task files and everything wrong with them, and the quality of the packaged probes."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from labelled_rows import task_file

from zskd import configs
from zskd.errors import InputError
from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import TASKS, Task, find_task

EXAMPLES = sorted(Path(configs.__path__[0]).glob("tasks/*.yaml"))
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


# Task files.

OWN: dict[str, Any] = {
    "text_columns": ["headline"],
    "label_column": "topic",
    "labels": ["water", "land", "art"],
}
PAIR = {**OWN, "text_columns": ["article", "question"]}


def problems_of(path: Path, content: Any) -> list[str]:
    """What is wrong with a task file of that content."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        find_task(str(path))
    assert caught.value.exit_code == 2
    assert all(problem.startswith(f"--task {path}: ") for problem in caught.value.problems)
    return caught.value.problems


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@every_task
def test_a_file_that_restates_a_preset_equals_it(task: Task, tmp_path: Path) -> None:
    values = {key: plain(value) for key, value in dataclasses.asdict(task).items()}
    assert find_task(task_file(tmp_path / "whole.yaml", values)) == task
    defaults = {item.name: item.default for item in dataclasses.fields(Task)}
    short = {key: value for key, value in values.items() if plain(defaults[key]) != value or key == "labels"}
    del short["name"]
    assert len(short) < len(values)
    assert find_task(task_file(tmp_path / f"{task.name}.yml", short)) == task


def test_three_keys_make_a_task(tmp_path: Path) -> None:
    task = find_task(task_file(tmp_path / "topics.yaml", OWN))
    assert (task.name, task.num_labels, task.is_pair, task.inputs) == ("topics", 3, False, ("text",))
    assert task.metrics == ("accuracy",)
    assert {task.file_labels[key] for key in ("0", "water")} == {"water"}
    assert task.glue_files(tmp_path) == {"dev": tmp_path / "dev.tsv"}
    assert task.probe_path() is None and task.adapter_path() is None
    pair = find_task(task_file(tmp_path / "pair.yaml", {**PAIR, "inputs": ["passage", "question"]}))
    assert pair.is_pair and pair.inputs == ("passage", "question")


def test_values_that_yaml_reads_as_numbers_are_names(tmp_path: Path) -> None:
    text = "text_columns: [1]\nlabel_column: stars\nlabels: [1, 2.5]\nfile_labels: {10: 1, 25: 2.5}\n"
    path = tmp_path / "stars.yaml"
    path.write_text(text, encoding="utf-8")
    task = find_task(str(path))
    assert (task.text_columns, task.labels) == (("1",), ("1", "2.5"))
    assert task.file_labels == {"10": "1", "25": "2.5"}


@pytest.mark.parametrize("name", EXAMPLES, ids=lambda path: path.stem)
def test_packaged_example_is_a_task(name: Path) -> None:
    task = find_task(str(name))
    assert task.name == name.stem and task.name not in TASKS


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner" / "teacher").mkdir(parents=True)
    (tmp_path / "inner" / "probe.tsv").write_text("headline\ttopic\nfine\twater\n", encoding="utf-8")
    file = task_file(tmp_path / "inner" / "topics.yaml", {**OWN, "probe": "probe.tsv", "teacher": "teacher"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder, name in ((tmp_path, "inner/topics.yaml"), (elsewhere, file), (elsewhere, "../inner/topics.yaml")):
        monkeypatch.chdir(folder)
        task = find_task(name)
        probe = task.probe_path()
        assert probe is not None and probe.samefile(tmp_path / "inner" / "probe.tsv")
        assert Path(task.teacher).samefile(tmp_path / "inner" / "teacher")
    hub = find_task(task_file(tmp_path / "inner" / "hub.yaml", {**OWN, "teacher": "someone/teacher"}))
    assert hub.teacher == "someone/teacher"


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in OWN.items() if key not in keys}


PROBLEMS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "no labels": (without("labels"), ("labels:", "none")),
    "empty labels": ({**OWN, "labels": []}, ("labels:", "none")),
    "one label": ({**OWN, "labels": ["water"]}, ("labels:", "at least two", "water")),
    "repeated label": ({**OWN, "labels": ["water", "land", "water"]}, ("labels:", "each once", "water, land, water")),
    "repeated as text": ({**OWN, "labels": [1, "1"]}, ("labels:", "each once")),
    "no text columns": (without("text_columns"), ("text_columns:", "none")),
    "three text columns": ({**OWN, "text_columns": ["a", "b", "c"]}, ("text_columns:", "one or two", "3")),
    "no label column": (without("label_column"), ("label_column:", "none")),
    "unknown key": ({**OWN, "text_column": ["a"]}, ("'text_column'", "'text_columns'")),
    "unknown label key": ({**OWN, "file_label": {}}, ("'file_label'", "'file_labels'")),
    "key that is no text": ({**OWN, 7: "x"}, ("unknown key 7",)),
    "columns of a wrong type": ({**OWN, "text_columns": "headline"}, ("text_columns:", "a list", "'headline'")),
    "labels of a wrong type": ({**OWN, "labels": {"a": "b"}}, ("labels:", "a list")),
    "file labels of a wrong type": ({**OWN, "file_labels": ["a"]}, ("file_labels:", "a mapping")),
    "name of a wrong type": ({**OWN, "name": 5}, ("name:", "text", "5")),
    "probe of a wrong type": ({**OWN, "probe": ["a.tsv"]}, ("probe:", "text")),
    "length of a wrong type": ({**OWN, "max_length": "long"}, ("max_length:", "a number", "'long'")),
    "length with a fraction": ({**OWN, "max_length": 9.5}, ("max_length:", "a number", "9.5")),
    "length too small": ({**OWN, "max_length": 7}, ("max_length:", "8", "7")),
    "unknown kind": ({**PAIR, "inputs": ["passage", "query"]}, ("inputs:", "text, question, passage", "query")),
    "one column twice": ({**PAIR, "text_columns": ["article", "article"]}, ("text_columns:", "found article twice")),
    "a kind too few": ({**PAIR, "inputs": ["passage"]}, ("inputs:", "each text column")),
    "a kind too many": ({**OWN, "inputs": ["text", "text"]}, ("inputs:", "each text column")),
    "file labels that lack one": ({**OWN, "file_labels": {"W": "water"}}, ("file_labels:", "found water")),
    "file labels of another": (
        {**OWN, "file_labels": {"W": "water", "L": "land", "A": "art", "S": "sky"}}, ("file_labels:", "sky"),
    ),
    "teacher labels that lack one": ({**OWN, "teacher_labels": {"A": "water"}}, ("teacher_labels:", "found water")),
    "teacher labels of another": (
        {**OWN, "teacher_labels": {"A": "water", "B": "land", "C": "art", "D": "sky"}}, ("teacher_labels:", "sky"),
    ),
    "f1 of three labels": ({**OWN, "metrics": ["accuracy", "f1"]}, ("metrics:", "f1")),
    "unknown metric": ({**OWN, "metrics": ["accuracy", "recall"]}, ("metrics:", "recall")),
    "no accuracy": ({**OWN, "metrics": ["f1"]}, ("metrics:", "accuracy")),
    "no YAML": ("labels: [\n", ("YAML",)),
    "a list": ("- sst2\n", ("found a list",)),
    "empty": ("", ("NoneType",)),
    "no UTF-8": (b"labels: [caf\xe9]\n", ("no UTF-8 text",)),
}  # fmt: skip


@pytest.mark.parametrize(("content", "parts"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_wrong_task_file_is_refused_with_the_key(content: Any, parts: tuple[str, ...], tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "topics.yaml", content)
    for part in parts:
        assert part in problem


def test_f1_is_allowed_for_two_labels(tmp_path: Path) -> None:
    values = {**OWN, "labels": ["a", "b"], "metrics": ["accuracy", "f1"]}
    assert find_task(task_file(tmp_path / "two.yaml", values)).metrics == ("accuracy", "f1")


@pytest.mark.parametrize("name", ["no.yaml", "."])
def test_a_task_file_that_is_none(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    path = tmp_path / name if name != "." else folder
    with pytest.raises(InputError, match=f"--task {re.escape(str(path))}: expected a task file"):
        find_task(str(path))


def test_problems_of_a_task_file_come_together(cli, tmp_path: Path) -> None:
    shape = {"labelz": ["a"], "text_columns": "a", "label_column": "topic", "max_length": None}
    found = problems_of(tmp_path / "shape.yaml", shape)
    assert {problem.split(": ", 1)[1].split(":")[0] for problem in found} == {
        "unknown key 'labelz'; did you mean 'labels'?", "text_columns", "max_length", "labels",
    }  # fmt: skip
    content = {**PAIR, "labels": ["a", "a", "b"], "inputs": ["text"], "metrics": ["f1"], "file_labels": {"x": "y"}}
    found = problems_of(tmp_path / "content.yaml", content)
    assert {problem.split(": ")[1] for problem in found} == {"labels", "inputs", "metrics", "file_labels"}
    done = cli("distill", "--task", tmp_path / "content.yaml", "--batch-size", "0", "--corpus", tmp_path / "no.txt")
    assert done.code == 2
    assert [line.removeprefix("zskd: error: ") for line in done.errors[:4]] == found
    assert any("--batch-size" in line for line in done.errors)


@pytest.mark.parametrize("name", ["sst-2", "topics", "", "topics.yml.txt"])
def test_neither_a_preset_nor_a_file_names_both_ways(name: str) -> None:
    with pytest.raises(InputError, match=r"--task: expected one of sst2, .* or a task file") as caught:
        find_task(name)
    assert repr(name) in str(caught.value) or not name


# The packaged probes.


def probe(task: Task) -> list[dict[str, str]]:
    path = task.probe_path()
    assert path is not None
    header, *rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


@every_task
def test_probe_is_large_balanced_and_short(task: Task) -> None:
    rows = probe(task)
    counts = Counter(row[task.label_column] for row in rows)
    assert len(rows) >= 180 and set(counts) == set(task.file_labels) and len(set(counts.values())) == 1
    labelled = read_labelled(task, str(task.probe_path()))
    assert labelled.texts == tuple([row[column] for row in rows] for column in task.text_columns)
    for kind, texts in zip(task.inputs, labelled.texts, strict=True):
        lengths = [len(text.split()) for text in texts]
        assert min(lengths) >= 3 and max(lengths) <= 40
        assert (sum("?" in text for text in texts) > len(texts) / 2) == (kind == "question")


@every_task
def test_probe_has_many_phenomena_and_plain_cases_of_every_label(task: Task) -> None:
    rows = probe(task)
    counts = Counter(row["phenomenon"] for row in rows)
    assert len(counts) >= 7 and counts["plain"] <= 0.6 * len(rows)
    seen = {(row["phenomenon"], row[task.label_column]) for row in rows}
    assert seen >= set(itertools.product(["plain", "negation"], task.file_labels))


def test_sentiment_probe_has_every_phenomenon_with_both_labels() -> None:
    seen = {(row["phenomenon"], row["label"]) for row in probe(TASKS["sst2"])}
    phenomena = {name for name, _ in seen}
    assert phenomena >= {"negation", "contrast", "irony", "implicit"}
    assert seen == set(itertools.product(phenomena, "01"))


@every_task
def test_probe_has_no_near_duplicates(task: Task) -> None:
    texts = [" ".join(row[column] for column in task.text_columns) for row in probe(task)]
    bags = [(text, set(re.findall(r"[\w']+", text.lower()))) for text in texts]
    for (left, a), (right, b) in itertools.combinations(bags, 2):
        assert len(a & b) <= 0.5 * len(a | b), (left, right)
