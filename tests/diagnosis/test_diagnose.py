"""`zskd diagnose` from the command line: a teacher, a run, and wrong input."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

from zskd.config.distillation import DistillConfig
from zskd.config.verbs import DiagnoseConfig
from zskd.diagnosis import diagnose
from zskd.diagnosis.stored import read_diagnosis
from zskd.pipeline import distill


def test_a_teacher_as_text_and_json(
    cli: Callable[..., Result], teacher_folder: Path, corpus_file: Path, shared_cache: Path
) -> None:
    flags = ("--task", "sst2", "--corpus", corpus_file, "--texts", 128, "--max-length", 32, "--cache-dir", shared_cache)
    shown = cli("diagnose", teacher_folder, *flags)
    assert shown.code == 0 and "try first" in shown.out and "labelled rows" in shown.out
    found = json.loads(cli("diagnose", teacher_folder, *flags, "--json").out)
    assert found["labels"] == ["negative", "positive"] and found["texts"] == 128
    assert found["queries_live"] == 0, "the first call's logits are cached"
    assert found["max_length"] == 32 and set(found["cut"]) == {"texts", "labelled"}
    cut = json.loads(cli("diagnose", teacher_folder, *flags, "--max-length", 8, "--json").out)["cut"]
    assert cut["texts"] > 0 and cut["labelled"] > 0
    assert found["signals"]["domain"] is None and found["signals"]["rescaling"]["student"] is None
    assert found["signals"]["calibration"]["rows"] > 100 and found["language"] == "en"
    other = json.loads(cli("diagnose", teacher_folder, *flags, "--json", "--language", "de").out)
    assert other["language"] == "de"


def test_a_run_brings_its_options_and_student_and_keeps_the_result(
    cli: Callable[..., Result], config_for: Callable[..., DistillConfig], own_tasks: dict[str, str]
) -> None:
    config = config_for(own_tasks["topics"], pool_size=160, checkpoints=1, language="nl")
    distill(config)
    run = Path(str(config.output_dir))
    flags = ("--texts", 128, "--cache-dir", str(config.cache_dir))
    result = cli("diagnose", run, *flags, "--json")
    found = json.loads(result.out)
    assert found == json.loads((run / "diagnosis.json").read_text(encoding="utf-8")) == read_diagnosis(run)
    assert cli("report", run).code == 0
    assert "Diagnosis of the teacher" in (run / "report.html").read_text(encoding="utf-8")
    assert found["language"] == "nl" and "language: nl" in result.err
    assert found["task"] == "topics" and found["run"] == str(run) and len(found["labels"]) == 5
    signals = found["signals"]
    assert signals["rescaling"]["student"] is not None and len(signals["separation"]) == 10
    for matrix in signals["domain"]["similarity"].values():
        assert len(matrix) == 5 and all(matrix[i][i] == pytest.approx(1.0, abs=1e-6) for i in range(5))
    wrong = cli("diagnose", run, "--task", "mnli", *flags)
    assert wrong.code == 2 and "the run in" in wrong.errors[0]
    assert set(found["cut"]) == {"texts", "labelled", "student"}
    wrong = cli("diagnose", run, "--max-length", 200, *flags)
    assert wrong.code == 2 and "expected at most the 128 positions of --teacher" in wrong.errors[0]


@pytest.mark.parametrize(
    ("options", "language", "shaped"),
    [
        (None, "en", ("random", False)),
        ({}, "en", ("random", False)),
        ({"perturb": "none"}, "en", ("none", False)),
        ({"perturb": "adversarial", "pairs": "wide"}, "en", ("random", True)),
        ({"pairs": "wide"}, "nl", ("random", False)),
    ],
)
def test_text_is_shaped_as_the_runs_was(
    options: dict[str, str] | None, language: str, shaped: tuple[str, bool], teacher_folder: Path, corpus_file: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    class Seen(Exception):
        pass

    def build_pools(*args: object, perturb: str, encoder: object, **kwargs: object) -> None:
        raise Seen(perturb, encoder is not None)

    run = None if options is None else DistillConfig(task="sst2", teacher=str(teacher_folder), **options)
    monkeypatch.setattr(diagnose, "run_config", lambda name: run)
    monkeypatch.setattr(diagnose, "build_pools", build_pools)
    config = DiagnoseConfig(
        model=str(teacher_folder), task="sst2", corpus=[str(corpus_file)], language=language, max_length=32,
        cache_dir=str(tmp_path),
    )  # fmt: skip
    with pytest.raises(Seen) as seen:
        diagnose.diagnose(config)
    assert seen.value.args == shaped


def test_code_that_a_run_names_is_imported_only_if_the_user_names_it(
    cli: Callable[..., Result],
    config_for: Callable[..., DistillConfig],
    own_tasks: dict[str, str],
    student_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The folder of a run may come from somebody else."""
    code = "open('ran', 'w').close()\ndef ask(texts):\n    return [[len(a), len(b), 60.0] for a, b in texts]\n"
    (tmp_path / "theirs.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    config = config_for(own_tasks["answers"], teacher="theirs:ask", student=str(student_folder), checkpoints=1)
    distill(config)
    run, ran = str(config.output_dir), tmp_path / "ran"
    ran.unlink()
    monkeypatch.delitem(sys.modules, "theirs")
    flags = ("--texts", 128, "--cache-dir", str(config.cache_dir))
    for more, part in (((), "found none"), (("--teacher", "other:ask"), "found other:ask")):
        done = cli("diagnose", run, *flags, *more)
        assert done.code == 2 and part in done.errors[0] and "add --teacher theirs:ask" in done.errors[0]
    for verb in (("report", run), ("publish", run, "--repo-id", "me/small", "--dry-run"), ("predict", "--model", run)):
        cli(*verb, *(("--input", config.corpus[0]) if verb[0] == "predict" else ()))
    assert not ran.exists()
    assert cli("diagnose", run, *flags, "--teacher", "theirs:ask").code == 0 and ran.exists()
    wrong = cli("diagnose", "embedded", "--task", "sst2", *flags, "--teacher", "theirs:ask")
    assert wrong.code == 2 and "expected a run whose teacher is module:function" in wrong.errors[0]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--task", "sst2"), "RUN|TEACHER: expected"),
        (("embedded",), "--task"),
        (("no/such", "--task", "sst2"), "no/such"),
        (("embedded", "--task", "sst2", "--corpus", "no.txt"), "no.txt"),
        (("embedded", "--task", "sst2", "--texts", "3"), "--texts"),
        (("embedded", "--task", "sst2", "--language", "german"), "--language: expected auto, en, other or an ISO code"),
        (("embedded", "--task", "sst2", "--data", "no.tsv"), "--data"),
    ],
)
def test_wrong_input_is_named(cli: Callable[..., Result], arguments: tuple[str, ...], part: str) -> None:
    result = cli("diagnose", *arguments)
    assert result.code == 2 and any(part in line for line in result.errors)
