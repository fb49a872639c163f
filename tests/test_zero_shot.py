"""The zero-shot proof: nothing of a task's labelled files reaches the student; a planted read is noticed."""

from __future__ import annotations

import io
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import as_flags
from labelled_rows import glue_folder, task_file

import zskd
from zskd.config.distillation import DistillConfig
from zskd.pipeline import distill
from zskd.system.files import sha256_file
from zskd.system.progress import At
from zskd.tasks.labelled import check_header
from zskd.tasks.task import TASKS, Task, find_task
from zskd.text import corpus as corpus_module
from zskd.text.shaping import Pools, build_pools
from zskd.text.sources import Source

ASSETS = Path(zskd.__file__).parent / "assets"
TASK_NAMES = (*TASKS, "topics", "answers")


def shuffle(folder: Path) -> None:
    """Shuffle texts and labels of every file, each on its own; headers stay."""
    rng = random.Random(0)
    for path in folder.rglob("*.tsv"):
        before = path.read_text(encoding="utf-8")
        header, *rows = before.splitlines()
        columns = [list(column) for column in zip(*(row.split("\t") for row in rows), strict=True)]
        for column in columns:
            rng.shuffle(column)
        path.write_text("\n".join([header, *map("\t".join, zip(*columns, strict=True))]) + "\n", encoding="utf-8")
        assert path.read_text(encoding="utf-8") != before


def shuffling_changes_the_student(config: DistillConfig, glue_dir: Path, tmp_path: Path) -> bool:
    """The proof: distil, shuffle every labelled file, distil again with nothing cached, compare bits."""
    students = []
    for name in ("first", "second"):
        run = replace(
            config,
            glue_dir=str(glue_dir),
            output_dir=str(tmp_path / name),
            cache_dir=str(tmp_path / f"{name}-cache"),
        )
        distill(run)
        students.append(sha256_file(tmp_path / name / "student" / "model.safetensors"))
        shuffle(glue_dir)
    return students[0] != students[1]


def rows_of(path: Path, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Some columns of every row, read by other means than the package's."""
    header, *rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [tuple(row[header.index(column)] for column in columns) for row in rows]


def plant_texts(monkeypatch: pytest.MonkeyPatch, task: Task, path: Path) -> None:
    """The corpus reads the texts of a labelled file."""
    documents = corpus_module.documents

    def planted(source: Source, at: At) -> list[str]:
        return [*documents(source, at), *(text for row in rows_of(path, task.text_columns) for text in row)]

    monkeypatch.setattr("zskd.text.corpus.documents", planted)


def plant_labels(monkeypatch: pytest.MonkeyPatch, task: Task, path: Path) -> None:
    """A seed that depends on where the first class's rows of a file lie."""

    def planted(*args, seed: int, **kwargs):
        first = [task.file_labels[label] == task.labels[0] for (label,) in rows_of(path, (task.label_column,))]
        return build_pools(*args, seed=seed + sum(i for i, found in enumerate(first) if found), **kwargs)

    monkeypatch.setattr("zskd.stages.inputs.build_pools", planted)


@pytest.mark.parametrize(
    ("name", "perturb"), [*((name, "random") for name in TASK_NAMES), ("sst2", "adversarial"), ("rte", "adversarial")]
)
def test_shuffling_every_labelled_file_leaves_the_student_bit_identical(
    name, perturb, config_for, own_tasks, tmp_path
) -> None:
    config = config_for(own_tasks.get(name, name), perturb=perturb, generator_warmup=2, student_steps=10)
    assert not shuffling_changes_the_student(config, glue_folder(tmp_path / "glue", find_task(config.task)), tmp_path)


# Each task has one planted read; every kind of read is planted in every file of some tasks.
PLANTS = list(
    zip(TASK_NAMES, itertools.cycle(itertools.product((plant_texts, plant_labels), ("dev", "train"))), strict=False)
)


@pytest.mark.parametrize(("name", "read"), PLANTS, ids=[f"{n}-{plant.__name__}-{f}" for n, (plant, f) in PLANTS])
def test_the_proof_notices_a_planted_early_read(
    name: str,
    read: tuple[Callable, str],
    config_for: Callable[..., DistillConfig],
    own_tasks: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_for(own_tasks.get(name, name))
    task = find_task(config.task)
    glue = glue_folder(tmp_path / "glue", task)
    dev, train = list(task.glue_files(glue).values())[-1], task.train_file(glue)
    plant, file = read
    plant(monkeypatch, task, dev if file == "dev" else train)
    assert shuffling_changes_the_student(config, glue, tmp_path)


@pytest.mark.parametrize("name", ["sst2", "mnli"])
def test_before_training_ends_only_headers_and_the_probe_are_opened(name, config_for, tmp_path, watch) -> None:
    config, task = config_for(name), TASKS[name]
    glue = glue_folder(tmp_path / "glue", task)
    trail = watch(tmp_path, ASSETS)
    distill(replace(config, glue_dir=str(glue), cache_dir=str(tmp_path / "cache")))
    files = [path for path, _ in trail.opened]
    trained = next(i for i, path in enumerate(files) if path.name == "history.json")
    assert any(path.name == "trainer_state.json" for path in files[:trained])
    early = [(path, functions) for path, functions in trail.opened[:trained] if path.suffix == ".tsv"]
    probe, dev = task.probe_path(), set(task.glue_files(glue).values())
    assert {path for path, _ in early} == {probe, *dev}
    assert all("check_header" in functions for path, functions in early if path in dev)
    assert all("check_teacher" in functions for path, functions in early if path == probe)
    # The trail does see a read: after training the dev files are opened for their rows.
    assert dev == {path for path, functions in trail.opened[trained:] if "_evaluation_sets" in functions}
    assert task.train_file(glue) not in files


def test_header_check_reads_not_one_byte_of_the_first_row(glue_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    class Counting(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            taken.append(super().read(size))
            return taken[-1]

    path = glue_dir / "SST-2" / "dev.tsv"
    monkeypatch.setattr(Path, "open", lambda self, mode, buffering: Counting(str(self), mode))
    assert check_header(TASKS["sst2"], path) == []
    assert b"".join(taken) == b"sentence\tlabel\n"


def test_pool_is_the_same_for_a_renamed_task_with_permuted_labels(tiny_config, tmp_path, monkeypatch) -> None:
    other = replace(TASKS["sst2"], name="renamed", folder="Other", labels=("positive", "negative"))
    monkeypatch.setitem(TASKS, "renamed", other)
    records = []
    for task in ("sst2", "renamed"):
        run = tmp_path / task
        distill(replace(tiny_config, task=task, output_dir=str(run), cache_dir=str(tmp_path / f"{task}-cache")))
        records.append(json.loads((run / "record.json").read_text()))
        labels = json.loads((run / "student" / "config.json").read_text())["id2label"]
        assert tuple(labels.values()) == TASKS[task].labels
    first, second = records
    assert first["pools"]["fingerprint"] == second["pools"]["fingerprint"]
    assert first["corpus"] == second["corpus"]
    assert second["gate"] is None, "the renamed task has no probe"


class Shaped(Exception):
    """Pools are made; the rest of a run is not needed."""


@pytest.fixture
def pools_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[DistillConfig], Pools]:
    """The pools that a run makes, each with a cache of its own."""
    made: list[Pools] = []

    def shaped(*args, **kwargs):
        made.append(build_pools(*args, **kwargs))
        raise Shaped

    monkeypatch.setattr("zskd.stages.inputs.build_pools", shaped)

    def pools_of(config: DistillConfig) -> Pools:
        with pytest.raises(Shaped):
            distill(replace(config, cache_dir=str(tmp_path / f"cache-{len(made)}")))
        return made[-1]

    return pools_of


@pytest.mark.parametrize("name", TASK_NAMES)
def test_pools_know_neither_name_labels_nor_teacher(name, config_for, own_tasks, pools_of, tmp_path) -> None:
    config = config_for(own_tasks.get(name, name))
    task = find_task(config.task)
    other = {
        "text_columns": [f"{column} too" for column in task.text_columns],
        "label_column": "other",
        "labels": [f"other {label}" for label in reversed(task.labels)],
        "inputs": list(task.inputs),
    }
    renamed = task_file(tmp_path / "renamed.yaml", other)
    first, second = pools_of(config), pools_of(replace(config, task=renamed, teacher="someone/else"))
    assert first.fingerprint == second.fingerprint
    assert first.transfer.to_dict() == second.transfer.to_dict()
    assert ("text_b" in first.transfer.column_names) == task.is_pair


@pytest.mark.parametrize("name", ["sst2", "rte"])
def test_another_seed_corpus_or_perturbation_gives_another_pool(name, config_for, pools_of, tmp_path) -> None:
    config = config_for(name)
    longer = tmp_path / "longer.txt"
    longer.write_text(Path(config.corpus[0]).read_text() + "One more plain sentence stands here.\n")
    changes = ({}, {"seed": 1}, {"corpus": [str(longer)]}, {"perturb": "none"})
    found = [pools_of(replace(config, **change)).fingerprint for change in changes]
    assert len(set(found)) == 4
    assert pools_of(config).fingerprint == found[0]


@pytest.mark.parametrize("name", ["sst2", "rte"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [(lambda row: [*row, "extra"], "columns"), (lambda row: [row[0], "maybe", *row[2:]], "'maybe'")],
    ids=["columns", "label"],
)
def test_broken_rows_show_after_training_and_the_student_is_kept(
    name, change, expected, cli, config_for, tmp_path
) -> None:
    config, glue = config_for(name), glue_folder(tmp_path / "glue", TASKS[name])
    (dev,) = TASKS[name].glue_files(glue).values()
    sound = dev.read_text(encoding="utf-8")
    row = change(sound.splitlines()[-1].split("\t"))
    dev.write_text(sound + "\t".join(row) + "\n", encoding="utf-8")
    done = cli("distill", *as_flags(config, glue_dir=glue))
    student = Path(str(config.output_dir)) / "student"
    assert done.code == 2
    assert f"{dev}, line 26" in done.errors[0]
    assert expected in done.errors[0]
    assert "zskd evaluate" in done.errors[1]
    assert str(student) in done.errors[1]
    dev.write_text(sound, encoding="utf-8")
    assert cli("evaluate", "--model", student, "--task", name, "--data", dev, "--json").code == 0


def test_run_folder_holds_what_the_contract_names(tiny_config: DistillConfig, glue_dir: Path) -> None:
    metrics = distill(replace(tiny_config, glue_dir=str(glue_dir)), zero_shot=False).metrics
    run = Path(str(tiny_config.output_dir))
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert yaml.safe_load((run / "config.yaml").read_text())["task"] == "sst2"
    keys = (
        "task seed teacher student compression retention retention_above_chance agreement "
        "agreement_above_chance teacher_queries teacher_queries_live seconds zero_shot versions"
    )
    assert set(keys.split()) <= set(metrics)
    for who in ("teacher", "student"):
        assert metrics[who]["parameters"] > 0
        assert set(metrics[who]["scores"]) == {"probe", "glue"}
    for name in ("retention", "retention_above_chance"):
        assert set(metrics[name]) == {"probe", "glue"}
    report = json.loads((run / "transfer_set.json").read_text())
    whole = {group["family"]: group["rows"] for group in report["groups"] if group["label"] == "all"}
    assert set(whole) == {"sentence", "perturbed span"}
    assert sum(whole.values()) == report["rows"] == tiny_config.pool_size
    assert metrics["compression"] >= tiny_config.compression
    assert set(metrics["seconds"]) >= {"corpus", "shaping", "labelling", "training", "scoring", "total"}
    assert metrics["zero_shot"]["enforced"] is False
