"""Where a student came from, in names that mean something elsewhere and no path of this machine."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pytest

from zskd.config.distillation import DistillConfig
from zskd.config.resolve import to_dict
from zskd.models.backbones import EMBEDDED, PACKAGED
from zskd.publish.origins import (
    corpus_parts,
    reproducing_command,
    student_origin,
    teacher_name,
    teacher_was_handed_over,
    teacher_words,
)
from zskd.runs.read import FinishedRun
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.task import TASKS

COMMIT = "c" * 40


def run(teacher: str, revision: str | None = None, *, student: str = "build", start: str | None = None, **options: Any):
    """A run with these origins."""
    config = to_dict(with_task_defaults(DistillConfig(task="sst2", teacher=teacher, student=student, **options)))
    record = {
        "teacher": {"name": teacher, "revision": revision},
        "student": {"name": student, "revision": start},
        "task": dataclasses.asdict(TASKS["sst2"]),
        "corpus": {"sources": dict.fromkeys(config["corpus"], "d" * 64)},
    }
    return FinishedRun(Path("run"), config, {}, record, None, None)


@pytest.mark.parametrize(
    ("teacher", "revision", "name", "words"),
    [
        ("embedded", None, "embedded", EMBEDDED.repo_id),
        ("embedded-base", None, "embedded-base", PACKAGED["embedded-base"].repo_id),
        ("me/teacher", COMMIT, "me/teacher", f"at revision `{COMMIT}`"),
        ("/home/somebody/models/mine", None, "mine", "`mine` (not on the Hub)"),
        ("C:\\models\\mine", None, "mine", "`mine`"),
        ("module:function", None, "module:function", "`module:function`"),
    ],
)
def test_a_teacher_has_a_name_that_others_understand(teacher: str, revision: str | None, name: str, words: str) -> None:
    found = run(teacher, revision)
    assert teacher_name(found) == name and words in teacher_words(found)
    assert "somebody" not in teacher_words(found)


@pytest.mark.parametrize(
    ("options", "origin"),
    [
        ({"teacher": "embedded"}, EMBEDDED.repo_id),
        ({"teacher": "embedded-base"}, PACKAGED["embedded-base"].repo_id),
        ({"teacher": "me/teacher", "revision": COMMIT}, "me/teacher"),
        ({"teacher": "/folder"}, None),
        ({"teacher": "/folder", "student": "me/small", "start": COMMIT}, "me/small"),
        ({"teacher": "/folder", "student": "default", "start": COMMIT}, TASKS["sst2"].student),
        ({"teacher": "/folder", "student": "/home/small"}, None),
    ],
)
def test_a_student_started_from_something_public_or_from_nothing(options: dict, origin: str | None) -> None:
    assert student_origin(run(**options)) == origin


def test_sources_are_told_apart_by_what_identifies_them() -> None:
    found = run("embedded")
    copy = f"{'0' * 16}.jsonl"
    sources = {
        "embedded": "e" * 64, "/home/somebody/a.txt": "a" * 64, "me/corpus:part": COMMIT,
        f"/home/somebody/cache/texts/{copy}": "b" * 64,
    }  # fmt: skip
    found.record["corpus"]["sources"] = sources
    assert corpus_parts(found) == [
        ("embedded", "embedded", ""), ("file", "a.txt", "a" * 64), ("hub", "me/corpus:part", COMMIT),
        ("texts", copy, "b" * 64),
    ]  # fmt: skip


def test_the_command_has_what_differs_and_no_path() -> None:
    command = reproducing_command(run("/home/somebody/mine", corpus=["/home/somebody/a b.txt"], epochs=3.5, seed=7))
    words = shlex.split(command)
    assert words[:4] == ["zskd", "distill", "--task", "sst2"]
    for flag, value in (("--teacher", "mine"), ("--corpus", "a b.txt"), ("--epochs", "3.5"), ("--seed", "7")):
        assert words[words.index(flag) + 1] == value
    assert "somebody" not in command and "--batch-size" not in command


@pytest.mark.parametrize(("perturb", "given"), [("random", False), ("adversarial", True)])
def test_the_command_has_an_adversarys_options_only_with_an_adversary(perturb: str, given: bool) -> None:
    command = reproducing_command(run("/mine", corpus=["/a.txt"], perturb=perturb, adversarial_start=0.25))
    assert ("--adversarial-start 0.25" in command) == given


def test_an_object_of_a_program_is_known_for_one() -> None:
    found = run("me/teacher")
    assert not teacher_was_handed_over(found)
    found.record["teacher"]["name"] = "BertForSequenceClassification"
    assert teacher_was_handed_over(found)
