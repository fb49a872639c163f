"""The zero-shot proof: nothing of a task's labelled files reaches the student; a planted read is noticed."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import as_flags

import zskd
from zskd.config import DistillConfig
from zskd.distill import distill
from zskd.files import sha256_file
from zskd.tasks import TASKS, check_header
from zskd.text import corpus as corpus_module

ASSETS = Path(zskd.__file__).parent / "assets"


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


def test_shuffling_every_labelled_file_leaves_the_student_bit_identical(tiny_config, glue_dir, tmp_path) -> None:
    assert not shuffling_changes_the_student(tiny_config, glue_dir, tmp_path)


def rows_of(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def plant_texts(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """The corpus reads the texts of a labelled file."""
    documents = corpus_module.documents
    planted = lambda source: [*documents(source), *(text for text, _ in rows_of(path))]  # noqa: E731
    monkeypatch.setattr("zskd.text.corpus.documents", planted)


def plant_labels(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """A seed that depends on where the positive labels of a file lie."""
    from zskd.text.shaping import build_pools

    def planted(*args, seed: int, **kwargs):
        return build_pools(
            *args, seed=seed + sum(i for i, (_, label) in enumerate(rows_of(path)) if label == "1"), **kwargs
        )

    monkeypatch.setattr("zskd.distill.build_pools", planted)


@pytest.mark.parametrize("file", ["dev.tsv", "train.tsv"])
@pytest.mark.parametrize("plant", [plant_texts, plant_labels])
def test_the_proof_notices_a_planted_early_read(
    tiny_config: DistillConfig,
    glue_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    plant: Callable,
) -> None:
    plant(monkeypatch, glue_dir / "SST-2" / file)
    assert shuffling_changes_the_student(tiny_config, glue_dir, tmp_path)


def test_before_training_ends_only_headers_and_the_probe_are_opened(tiny_config, glue_dir, tmp_path, watch) -> None:
    trail = watch(tmp_path, ASSETS)
    distill(replace(tiny_config, glue_dir=str(glue_dir), cache_dir=str(tmp_path / "cache")))
    files = [path for path, _ in trail.opened]
    trained = next(i for i, path in enumerate(files) if path.name == "history.json")
    assert any(path.name == "trainer_state.json" for path in files[:trained])
    early = [(path, functions) for path, functions in trail.opened[:trained] if path.suffix == ".tsv"]
    probe, dev = TASKS["sst2"].probe_path(), glue_dir / "SST-2" / "dev.tsv"
    assert {path for path, _ in early} == {probe, dev}
    assert all("check_header" in functions for path, functions in early if path == dev)
    assert all("check_teacher" in functions for path, functions in early if path == probe)
    # The trail does see a read: after training the dev file is opened for its rows.
    assert any("_evaluation_sets" in functions for path, functions in trail.opened[trained:] if path == dev)
    assert glue_dir / "SST-2" / "train.tsv" not in files


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


def test_another_seed_or_corpus_gives_another_pool(tiny_config: DistillConfig, tmp_path: Path) -> None:
    longer = tmp_path / "longer.txt"
    longer.write_text(Path(tiny_config.corpus[0]).read_text() + "One more plain sentence stands here.\n")
    found = set()
    for number, changes in enumerate(({}, {"seed": 1}, {"corpus": [str(longer)]}, {"perturb": "none"})):
        run = tmp_path / str(number)
        distill(replace(tiny_config, output_dir=str(run), epochs=0.1, **changes))
        found.add(json.loads((run / "record.json").read_text())["pools"]["fingerprint"])
    assert len(found) == 4


@pytest.mark.parametrize(
    ("row", "expected"),
    [("fine\t1\textra", "found 3"), ("fine\t2", "found '2'"), ("no label", "found 1")],
    ids=["columns", "label", "tab"],
)
def test_broken_rows_show_after_training_and_the_student_is_kept(cli, tiny_config, glue_dir, row, expected) -> None:
    dev = glue_dir / "SST-2" / "dev.tsv"
    sound = dev.read_text(encoding="utf-8")
    dev.write_text(f"{sound}{row}\n", encoding="utf-8")
    done = cli("distill", *as_flags(tiny_config, glue_dir=glue_dir))
    student = Path(str(tiny_config.output_dir)) / "student"
    assert done.code == 2
    assert f"{dev}, line 18" in done.errors[0]
    assert expected in done.errors[0]
    assert "zskd evaluate" in done.errors[1]
    assert str(student) in done.errors[1]
    dev.write_text(sound, encoding="utf-8")
    assert cli("evaluate", "--model", student, "--task", "sst2", "--data", dev, "--json").code == 0


def test_run_folder_holds_what_the_contract_names(tiny_config: DistillConfig, glue_dir: Path) -> None:
    metrics = distill(replace(tiny_config, glue_dir=str(glue_dir)), zero_shot=False)
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
    assert metrics["compression"] >= tiny_config.compression
    assert set(metrics["seconds"]) >= {"corpus", "shaping", "labelling", "training", "scoring", "total"}
    assert metrics["zero_shot"]["enforced"] is False
