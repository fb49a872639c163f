"""`zskd predict --min-agreement`: answers above a proven threshold, and the rest deferred."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import prose

from zskd.metrics.coverage import row_for
from zskd.tasks.task import TASKS


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{line}\n" for line in prose(60, seed=9)), encoding="utf-8")
    return path


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> tuple[Path, float]:
    """A finished run whose table proves 0.9 at a threshold that some lines reach, and that threshold."""
    shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    path = tmp_path / "run" / "analysis.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for row in content["coverage"]:
        row["bound"] = 0.93 if row["threshold"] >= 0.7 else 0.6
        row["agreement"] = 0.95
        row["coverage"] = 1 - row["threshold"] / 2
    path.write_text(json.dumps(content), encoding="utf-8")
    return tmp_path / "run", 0.7


def test_a_run_has_its_agreement_over_coverage(finished_run: Path) -> None:
    content = json.loads((finished_run / "analysis.json").read_text(encoding="utf-8"))
    table = content["coverage"]
    assert table[0]["coverage"] == 1 and table[0]["rows"] == sum(map(sum, content["heldout"]["confusion"]))
    metrics = json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    assert table[0]["agreement"] == pytest.approx(metrics["agreement"])
    assert row_for(table, 0.999) is None


def test_unsure_lines_are_deferred(cli, run: tuple[Path, float], lines: Path) -> None:
    folder, threshold = run
    plain = [
        json.loads(line) for line in cli("predict", "--model", folder, "--input", lines, "--json").out.splitlines()
    ]
    done = cli("predict", "--model", folder, "--input", lines, "--json", "--min-agreement", "0.9")
    found = [json.loads(line) for line in done.out.splitlines()]
    sure = [max(row["probabilities"].values()) >= threshold for row in plain]
    assert done.code == 0 and 0 < sum(sure) < 60
    for row, before, reached in zip(found, plain, sure, strict=True):
        assert row["probabilities"] == before["probabilities"]
        assert (row["label"], row["by"]) == ((before["label"], "student") if reached else (None, "deferred"))
    assert f"the student answered {sum(sure)} of 60 lines" in done.err and "confidence of at least 0.7" in done.err
    table = cli("predict", "--model", folder / "student", "--input", lines, "--min-agreement", "0.9").out.splitlines()
    assert table[0].split("\t") == ["label", "by", *TASKS["sst2"].labels]
    assert [line.split("\t")[:2] for line in table[1:]] == [[row["label"] or "", row["by"]] for row in found]


def test_the_teacher_answers_what_is_deferred(cli, run: tuple[Path, float], lines: Path, teacher_folder: Path) -> None:
    folder, _ = run
    teacher = cli("predict", "--model", teacher_folder, "--task", "sst2", "--input", lines, "--json").out.splitlines()
    given = ("--min-agreement", "0.9", "--teacher", teacher_folder)
    done = cli("predict", "--model", folder, "--input", lines, "--json", *given)
    found = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0 and {row["by"] for row in found} == {"student", "teacher"}
    for row, of_teacher in zip(found, map(json.loads, teacher), strict=True):
        if row["by"] == "teacher":
            assert row["label"] == of_teacher["label"]
            assert row["probabilities"] == pytest.approx(of_teacher["probabilities"], abs=1e-4)
    assert "; teacher: " in done.err


def test_what_was_not_proven_is_refused_before_weights_are_loaded(
    cli, run: tuple[Path, float], lines: Path, teacher_folder: Path
) -> None:
    folder, _ = run
    (folder / "student" / "model.safetensors").unlink()
    given = ("predict", "--input", lines)
    for more, parts in (
        (("--model", folder, "--min-agreement", "0.99"), ("--min-agreement 0.99", "at most 0.930", "ask for less")),
        (("--model", teacher_folder, "--min-agreement", "0.9"), ("--min-agreement 0.9", "no analysis.json")),
        (("--model", folder, "--min-agreement", "1.5"), ("--min-agreement",)),
        (("--model", folder, "--teacher", "embedded"), ("--teacher embedded", "--min-agreement")),
    ):
        done = cli(*given, *more)
        assert done.code == 2 and done.out == "" and all(part in done.errors[0] for part in parts), done.err
    content = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
    del content["coverage"]
    (folder / "analysis.json").write_text(json.dumps(content), encoding="utf-8")
    done = cli(*given, "--model", folder, "--min-agreement", "0.9")
    assert done.code == 2 and "an earlier version" in done.errors[0] and "--min-agreement 0.9" in done.errors[0]


def test_a_teacher_that_reads_less_is_given_less(
    cli, run: tuple[Path, float], lines: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    short = shutil.copytree(teacher_folder, tmp_path / "short")
    path = short / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 12}))
    lines.write_text(lines.read_text() + "word " * 60 + "\n")
    given = ("--min-agreement", "0.9", "--teacher", short, "--json")
    done = cli("predict", "--model", run[0], "--input", lines, *given)
    assert done.code == 0 and len(done.out.splitlines()) == 61, done.err


def test_what_the_run_knows_of_its_teacher_holds_here_too(
    cli, run: tuple[Path, float], lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callable of probabilities stays one."""
    (tmp_path / "asked_here.py").write_text("def ask(texts):\n    return [[0.9, 0.1]] * len(texts)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = run[0] / "config.yaml"
    options = yaml.safe_load(path.read_text()) | {"teacher": "asked_here:ask", "teacher_outputs": "probabilities"}
    path.write_text(yaml.safe_dump(options))
    given = ("--min-agreement", "0.9", "--teacher", "asked_here:ask", "--json")
    done = cli("predict", "--model", run[0], "--input", lines, *given)
    by_teacher = [row for row in map(json.loads, done.out.splitlines()) if row["by"] == "teacher"]
    assert done.code == 0 and by_teacher, done.err
    assert all(row["probabilities"] == pytest.approx({"negative": 0.9, "positive": 0.1}) for row in by_teacher)


def test_the_students_folder_stands_for_its_run_wherever_it_is_named_from(
    cli, run: tuple[Path, float], lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run[0] / "student")
    assert cli("predict", "--model", ".", "--input", lines, "--min-agreement", "0.9").code == 0


@pytest.mark.parametrize("content", [5, [1], [{"threshold": 0.5}], {"a": 1}])
def test_a_damaged_table_is_named(cli, run: tuple[Path, float], lines: Path, content: object) -> None:
    path = run[0] / "analysis.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"coverage": content}))
    for command in (("predict", "--model", run[0], "--input", lines, "--min-agreement", "0.9"), ("report", run[0])):
        done = cli(*command)
        assert done.code == 2 and "analysis.json" in done.errors[0], done.err
