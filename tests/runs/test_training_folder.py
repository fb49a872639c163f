"""What a training finds in its output folder and beside it, before anything loads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from labelled_rows import TOPICS, task_file

from zskd.config.verbs import FinetuneConfig
from zskd.runs.training_folder import (
    RECORD,
    STARTED,
    fingerprint_problems,
    recorded_options,
    steps_saved,
    training_problems,
    working_folder,
    write_started,
)
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.task import find_task

PRINTS = {"rows": "1", "base": "2"}


@pytest.fixture
def config(tmp_path: Path) -> FinetuneConfig:
    return FinetuneConfig(task="sst2", output_dir=str(tmp_path / "teacher"))


def unfinished(config: FinetuneConfig, precision: str = "fp32", step: int | None = 20) -> Path:
    """The folder of a training that was killed, with a checkpoint of a step."""
    work = working_folder(Path(str(config.output_dir)))
    work.mkdir(exist_ok=True)
    write_started(work, with_task_defaults(config), precision, PRINTS)
    if step is not None:
        (work / f"checkpoint-{step}").mkdir()
    return work


def problems(config: FinetuneConfig) -> list[str]:
    return training_problems(config, find_task(config.task))


def only(found: list[str], *parts: str) -> None:
    assert len(found) == 1, found
    for part in parts:
        assert part in found[0]


def test_a_checkpoint_is_not_lost_without_a_word(config: FinetuneConfig) -> None:
    resumed = replace(config, resume=True)
    assert problems(config) == problems(resumed) == []
    work = unfinished(config, step=None)
    assert problems(config) == problems(replace(config, rank=2)) == [], "nothing that could be lost"
    unfinished(config)
    assert steps_saved(work) == 20 and problems(resumed) == []
    only(problems(config), f"--output-dir {config.output_dir}", str(work), "checkpoint of step 20; pass --resume to")


@pytest.mark.parametrize("resume", [False, True])
def test_other_options_are_named_with_their_flags(config: FinetuneConfig, resume: bool) -> None:
    work = unfinished(config)
    other = replace(config, rank=2, full=True, seed=1, weight_decay=0.5, epochs=1.0, resume=resume)
    found = "--full False there, True here, --rank 16 there, 2 here, --epochs 3.0 there, 1.0 here, --weight-decay 0.01"
    only(problems(other), found, f"choose another folder, or remove {work}")
    free = replace(config, glue_dir="elsewhere", cache_dir="c", skip_bad_rows=True, resume=True)
    assert problems(free) == [], "the rows themselves are compared"
    (work / STARTED).write_text(
        json.dumps({**json.loads((work / STARTED).read_text()), "options": {"task": "sst2"}}), encoding="utf-8"
    )
    only(problems(other), "--rank 16 there"), "an older version lacks what was the only way then"


def test_the_precision_is_that_which_was_meant(config: FinetuneConfig) -> None:
    work = unfinished(config, precision="bf16")
    auto = replace(config, resume=True)
    assert auto.precision == "auto" and problems(auto) == problems(replace(auto, precision="bf16")) == []
    only(problems(replace(auto, precision="fp32")), "--precision 'bf16' there, 'fp32' here")
    assert fingerprint_problems(auto, work, "bf16", PRINTS, "train.tsv") == []
    only(fingerprint_problems(auto, work, "fp32", PRINTS, "train.tsv"), "--precision auto: expected bf16", "pass --pre")


def test_other_rows_and_another_base_are_named(config: FinetuneConfig) -> None:
    work = unfinished(config)
    found = fingerprint_problems(config, work, "fp32", {"rows": "x", "base": "y"}, "there/train.tsv")
    assert [line.partition(":")[0] for line in found] == ["there/train.tsv", "--base embedded"]


def test_another_definition_of_the_task_is_found(config: FinetuneConfig, tmp_path: Path) -> None:
    name = task_file(tmp_path / "mine.yaml", {key: value for key, value in TOPICS.items() if key != "probe"})
    own = replace(config, task=name, resume=True)
    unfinished(own)
    assert problems(own) == []
    labels = [*reversed(TOPICS["labels"])]
    task_file(tmp_path / "mine.yaml", {**{k: v for k, v in TOPICS.items() if k != "probe"}, "labels": labels})
    only(problems(own), f"another definition of {name}")


def test_what_is_no_training_is_left_alone(config: FinetuneConfig, tmp_path: Path) -> None:
    work = working_folder(Path(str(config.output_dir)))
    work.mkdir()
    assert problems(config) == [], "as Trainer made it in older versions"
    (work / f".{STARTED}.a1b2c3d4.part").mkdir()
    assert problems(config) == [], "killed while the first file was written"
    (work / "thesis.txt").write_text("mine", encoding="utf-8")
    only(problems(config), f"expected {STARTED} in {work}, found other files")
    for damaged in ("{", "[]", "{}"):
        (work / STARTED).write_text(damaged, encoding="utf-8")
        only(problems(config), f"--output-dir {config.output_dir}", STARTED, "remove the folder")
    other = replace(config, output_dir=str(tmp_path / "other"))
    working_folder(tmp_path / "other").write_text("a file", encoding="utf-8")
    only(problems(other), "found a file at")
    linked = replace(config, output_dir=str(tmp_path / "linked"))
    working_folder(tmp_path / "linked").symlink_to(work)
    only(problems(linked), "found a link at")
    only(problems(replace(config, output_dir=str(tmp_path / ("n" * 250)))), "--output-dir", "the name is too long")


def test_a_finished_teacher_is_compared_with_the_command(config: FinetuneConfig) -> None:
    resumed, output = replace(config, resume=True, adapter="a/mnli"), Path(str(config.output_dir))
    output.mkdir()
    assert problems(resumed) == []
    (output / "thesis.txt").write_text("mine", encoding="utf-8")
    only(problems(resumed), "expected a teacher of `zskd finetune`")
    record = {"task": "sst2", "started_from": "mnli", "precision": "bf16"}
    record["options"] = recorded_options(with_task_defaults(resumed))
    assert not {"adapter", "output_dir", "resume"} & record["options"].keys(), "no names of folders"
    (output / RECORD).write_text(json.dumps(record), encoding="utf-8")
    assert problems(resumed) == problems(replace(resumed, adapter="b/mnli", precision="bf16")) == []
    only(problems(replace(resumed, adapter="a/qqp")), "--adapter 'mnli' there, 'qqp' here")
    only(problems(replace(resumed, precision="fp32")), "holds another teacher (--precision 'bf16' there, 'fp32' here)")
    only(problems(replace(resumed, task="rte", max_length=64)), "--task 'sst2' there, 'rte' here")
