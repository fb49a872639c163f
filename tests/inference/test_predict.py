"""`zskd predict`: one answer a line, as lines arrive, and errors that name the line."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import faulty
import numpy as np
import pytest
from conftest import Result, prose, save_model, tiny_bert, word_tokenizer
from faulty_lengths import SHORT, TOO_SHORT
from transformers import AutoConfig, AutoModelForSequenceClassification, pipeline

from zskd.errors import InputError
from zskd.inference.predict import answer, read_rows
from zskd.inference.saved import load_saved, student_folder
from zskd.pipeline import distill
from zskd.student.initial import initial_student
from zskd.tasks.task import TASKS
from zskd.teacher.blackbox import load_black_box
from zskd.teacher.classifier import Classifier

pytestmark = pytest.mark.usefixtures("own_cache")
TEXTS = ["a fine and moving film", "", "dull", *prose(30)]


@pytest.fixture(scope="module")
def pair_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random classifier for MRPC."""
    tokenizer = word_tokenizer(prose(60))
    return save_model(tmp_path_factory.mktemp("pairs"), tiny_bert(len(tokenizer), TASKS["mrpc"].labels), tokenizer)


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def stdin(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))

    return stdin


def parsed(done: Result) -> tuple[list[str], list[list[str]]]:
    """Header and lines of a table."""
    assert done.code == 0, done.err
    header, *lines = (line.split("\t") for line in done.out.splitlines())
    return header, lines


def test_one_line_for_each_line_in_order_whatever_the_batches(cli, finished_run: Path, tmp_path: Path) -> None:
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    model = finished_run / "student"
    header, lines = parsed(cli("predict", "--model", model, "--input", source))
    assert header == ["label", "negative", "positive"] and len(lines) == len(TEXTS)
    saved = load_saved(str(model), flag="--model")
    logits = saved.classifier.logits((TEXTS,), max_length=saved.max_length)
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = exponent / exponent.sum(axis=1, keepdims=True)
    found = np.array([[float(p) for p in line[1:]] for line in lines])
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert [line[0] for line in lines] == [header[1:][i] for i in expected.argmax(axis=1)]
    one_by_one = parsed(cli("predict", "--model", model, "--input", source, "--batch-size", 1))[1]
    np.testing.assert_allclose(found, [[float(p) for p in line[1:]] for line in one_by_one], atol=2e-6)


def test_a_run_folder_stands_for_its_student(cli, finished_run: Path, stdin) -> None:
    answers = []
    for model in (finished_run, finished_run / "student"):
        stdin(b"a fine film\n")
        answers.append(cli("predict", "--model", model).out)
    assert answers[0] == answers[1]


def test_json_lines_into_a_file(cli, finished_run: Path, tmp_path: Path, stdin) -> None:
    stdin("ein schöner Film\r\nkurz".encode())
    target = tmp_path / "new" / "answers.jsonl"
    done = cli("predict", "--model", finished_run, "--json", "--output", target)
    assert (done.code, done.out) == (0, "")
    rows = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)


def test_pairs(cli, pair_model: Path, stdin) -> None:
    stdin(b"one text\tanother text\nthis\tthat\n")
    header, lines = parsed(cli("predict", "--model", pair_model))
    assert header[1:] == list(TASKS["mrpc"].labels) and len(lines) == 2
    saved = load_saved(str(pair_model), flag="--model")
    direct = answer(saved, [("one text", "another text")], "fp32")[0]
    assert [float(p) for p in lines[0][1:]] == pytest.approx(list(direct), abs=2e-6)


def test_labels_in_the_words_of_a_task(cli, finished_run: Path, stdin) -> None:
    answers = []
    for extra in ((), ("--task", "sst2", "--label-map", "negative=positive,positive=negative")):
        stdin(b"a fine film\n")
        answers.append(parsed(cli("predict", "--model", finished_run, *extra))[1][0])
    assert answers[0][0] != answers[1][0] and answers[0][1:] == answers[1][:0:-1]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"fine\n\xff\xfe\n", ("line 2", "UTF-8")),
        (b"fine\nfine\ttoo\n", ("line 2", "one text", "record.json", "sst2", "found 2 columns")),
    ],
)
def test_a_wrong_line_is_named_and_those_before_it_answered(cli, finished_run, stdin, content, parts) -> None:
    stdin(content)
    done = cli("predict", "--model", finished_run)
    assert done.code == 2 and all(part in done.errors[0] for part in ("standard input", *parts))
    assert len(done.out.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "content", "parts"),
    [
        ((), b"a\tb\nc\n", ("line 2", "two texts", "the first line", "found 1 column")),
        ((), b"a\tb\tc\n", ("line 1", "one text, or two", "3 columns")),
        (("--task", "mrpc"), b"only one\n", ("line 1", "two texts", "--task mrpc")),
    ],
)
def test_a_pair_model_and_the_wrong_columns(cli, pair_model, stdin, arguments, content, parts) -> None:
    stdin(content)
    done = cli("predict", "--model", pair_model, *arguments)
    assert done.code == 2 and all(part in done.errors[0] for part in parts)


@pytest.fixture(scope="module")
def students(teacher: Classifier, student_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Students as `distill` saves them, away from their run: built for one text, and from a folder for two."""
    folder, cache = tmp_path_factory.mktemp("students"), tmp_path_factory.mktemp("cache")
    for name, origin in (("sst2", "build"), ("mrpc", str(student_folder))):
        start = initial_student(
            TASKS[name], origin, None, teacher, compression=2.0, precision="fp32", seed=0, cache=cache
        )
        save_model(folder / name, start.model, start.tokenizer)
    return {name: folder / name for name in ("sst2", "mrpc")}


@pytest.mark.parametrize(
    ("name", "right", "wrong", "parts"),
    [
        ("sst2", b"fine", b"fine\ttoo", ("expected one text, without a tab", "found 2 columns")),
        ("mrpc", b"this\tthat", b"only one", ("expected two texts, separated by a tab", "found 1 column")),
    ],
)
def test_a_student_alone_says_how_many_texts_it_reads(cli, students, tmp_path, name, right, wrong, parts) -> None:
    source = tmp_path / "rows.tsv"
    source.write_bytes(wrong + b"\n")
    done = cli("predict", "--model", students[name], "--input", source)
    assert done.code == 2
    assert all(part in done.errors[0] for part in (f"{source}, line 1", "zskd_texts in its config.json", *parts))
    source.write_bytes(right + b"\n" + wrong + b"\n")
    done = cli("predict", "--model", students[name], "--input", source)
    assert done.code == 2 and f"{source}, line 2" in done.errors[0] and len(done.out.splitlines()) == 2
    source.write_bytes(right + b"\n")
    done = cli("predict", "--model", students[name], "--input", source)
    assert done.code == 0 and "how many texts it reads" not in done.err


def test_a_student_is_loaded_by_the_library_without_a_word(students: dict[str, Path], capfd, recwarn) -> None:
    for name, folder in students.items():
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        assert model.config.zskd_texts == len(TASKS[name].text_columns)
        assert AutoConfig.from_pretrained(folder).zskd_texts == len(TASKS[name].text_columns)
    assert "zskd" not in "".join(capfd.readouterr())
    assert not [warning for warning in recwarn if "zskd" in str(warning.message)]


def test_a_student_of_one_text_becomes_one_of_two(students: dict[str, Path], tmp_path: Path) -> None:
    task = TASKS["mrpc"]
    teacher = load_black_box(task, lambda rows: [[0.0, 1.0]] * len(rows))
    start = initial_student(
        task, str(students["sst2"]), None, teacher, compression=2.0, precision="", seed=0, cache=tmp_path
    )
    assert start.model.config.zskd_texts == 2


def test_a_number_of_texts_that_no_model_has(cli, students: dict[str, Path], tmp_path: Path, stdin) -> None:
    folder = shutil.copytree(students["sst2"], tmp_path / "student")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "zskd_texts": 3}), encoding="utf-8")
    stdin(b"fine\n")
    done = cli("predict", "--model", folder)
    assert done.code == 2 and f"--model {folder}: expected zskd_texts 1 or 2" in done.errors[0]


def test_nothing_is_written_before_the_first_line_is_taken(cli, finished_run: Path, stdin) -> None:
    stdin(b"\xff\nfine\n")
    done = cli("predict", "--model", finished_run)
    assert done.code == 2 and done.out == "" and "line 1" in done.errors[0]
    stdin(b"")
    assert cli("predict", "--model", finished_run).out == "label\tnegative\tpositive\n"


def test_closed_standard_streams_are_named(cli, finished_run: Path, tmp_path: Path) -> None:
    """A shell's ``<&-`` and ``>&-``."""
    command = [sys.executable, "-m", "zskd", "predict", "--model", str(finished_run)]
    (tmp_path / "lines.txt").write_text("a fine film\n", encoding="utf-8")
    for redirected, flag_name in (("<&-", "--input -"), (f"--input {tmp_path / 'lines.txt'} >&-", "--output")):
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {redirected}', "sh", *command], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            text=True, check=False,
        )  # fmt: skip
        (line,) = done.stderr.splitlines()
        assert done.returncode == 2 and line.startswith(f"zskd: error: {flag_name}: ") and "closed" in line


def test_a_failed_run_leaves_no_output_file(cli, finished_run: Path, tmp_path: Path, stdin) -> None:
    stdin(b"fine\n\xff\n")
    assert cli("predict", "--model", finished_run, "--output", tmp_path / "out.tsv").code == 2
    assert list(tmp_path.iterdir()) == []


def test_wrong_options_are_found_before_anything_is_loaded(cli, tmp_path: Path) -> None:
    done = cli("predict", "--input", tmp_path / "no", "--output", tmp_path, "--batch-size", 0)
    flags = {line.split()[2].rstrip(":") for line in done.errors}
    assert done.code == 2 and flags == {"--model", "--input", "--output", "--batch-size"}
    for model in ("embedded", "package.module:function"):
        assert "--task" in cli("predict", "--model", model).errors[0]
    assert "--task" in cli("predict", "--model", tmp_path, "--label-map", "a=b").errors[0]


def test_a_run_without_a_student(cli, finished_run: Path, tmp_path: Path) -> None:
    shutil.copy(finished_run / "config.yaml", tmp_path)
    done = cli("predict", "--model", tmp_path)
    assert done.code == 2 and "--resume" in done.errors[0]
    assert student_folder(str(finished_run)) == str(finished_run / "student")


def test_what_has_arrived_is_not_kept_waiting() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        rows = read_rows(stream, "pipe", None, "", 4)
        os.write(writing, b"one\ntwo\nthr")
        assert next(rows) == [("one",), ("two",)]
        os.write(writing, b"ee\n1\n2\n3\n4\n")
        assert [next(rows), next(rows)] == [[("three",), ("1",), ("2",), ("3",)], [("4",)]]
        os.write(writing, b"last")
        os.close(writing)
        assert list(rows) == [[("last",)]]


def test_answers_appear_while_standard_input_is_open(finished_run: Path) -> None:
    command = [sys.executable, "-m", "zskd", "predict", "--model", str(finished_run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"a fine film\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"label\tnegative\tpositive\n"
        assert len(process.stdout.readline().split(b"\t")) == 3
        process.stdin.write(b"and another\n")
        process.stdin.flush()
        assert select.select([process.stdout], [], [], 120)[0]
        assert len(process.stdout.readline().split(b"\t")) == 3
        # Whoever reads goes away first: no traceback, no error.
        process.stdout.close()
        process.stdin.write(b"nobody listens\n" * 3)
        process.stdin.close()
        assert process.wait(120) == 0


@pytest.mark.parametrize("start", ["build", "sigmoid", "multi_label", "cross_encoder"])
def test_a_pipeline_and_predict_agree_on_a_student(
    start: str, cli, tiny_config, teacher_folder: Path, tmp_path: Path
) -> None:
    """A student whose start said several labels kept it, and a pipeline gave it a sigmoid."""
    options = {}
    if start != "build":
        options = {"student": str(shutil.copytree(teacher_folder, tmp_path / "start"))}
        getattr(faulty, start)(tmp_path / "start")
    distill(replace(tiny_config, epochs=1.0, **options))
    student = Path(tiny_config.output_dir) / "student"
    (tmp_path / "texts.txt").write_text("\n".join(prose(12)) + "\n", encoding="utf-8")
    done = cli("predict", "--model", student, "--input", tmp_path / "texts.txt", "--json")
    ours = [json.loads(line)["probabilities"] for line in done.out.splitlines()]
    answers = pipeline("text-classification", model=str(student), top_k=None)(prose(12))
    assert len(ours) == 12
    for mine, theirs in zip(ours, answers, strict=True):
        assert mine == pytest.approx({entry["label"]: entry["score"] for entry in theirs}, abs=2e-6)
        assert sum(entry["score"] for entry in theirs) == pytest.approx(1.0)


@pytest.mark.parametrize("task", [None, "sst2"])
@pytest.mark.parametrize("build", TOO_SHORT, ids=lambda build: build.__name__)
def test_a_model_is_checked_when_it_is_loaded_too(build, task: str | None, tmp_path: Path) -> None:
    build(tmp_path)  # as from the Hub, whose files nobody saw before
    with pytest.raises(InputError, match=f"--max-length 17: expected at most the {SHORT} .*--model {tmp_path}"):
        load_saved(str(tmp_path), flag="--model", task_name=task, max_length=17)
    assert load_saved(str(tmp_path), flag="--model", task_name=task, max_length=12).max_length == 12
    assert load_saved(str(tmp_path), flag="--model", task_name=task).max_length == SHORT


def test_the_students_own_length_is_read_and_not_the_runs(finished_run: Path) -> None:
    saved = load_saved(str(finished_run), flag="--model")
    assert (saved.max_length, saved.classifier.trained_length) == (128, 32)


def rows_of(content: bytes) -> list[tuple[str, ...]]:
    stream = io.BufferedReader(io.BytesIO(content))
    return [row for rows in read_rows(stream, "texts.txt", 1, "the task", 8) for row in rows]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_another_encoding_is_named(encoding: str) -> None:
    with pytest.raises(InputError, match=f"texts.txt, line 1: expected UTF-8 text, found {encoding.upper()} text"):
        rows_of("A fine film.\n".encode(encoding))


def test_odd_characters_stay_in_their_line(caplog: pytest.LogCaptureFixture) -> None:
    assert rows_of("\ufeffa\u2028b\x0cc\x85d\r\n\ne\n".encode()) == [("a\u2028b\x0cc\x85d",), ("",), ("e",)]
    assert caplog.messages == []
    assert rows_of(b"a\0b\nc\rd\re\nf\rg\nh\0\0") == [("a\ufffdb",), ("c\rd\re",), ("f\rg",), ("h\ufffd\ufffd",)]
    ends, replaced = caplog.messages
    assert ends.startswith("texts.txt, line 2:") and "carriage returns" in ends
    assert replaced.startswith("texts.txt, line 1:") and "3 such character(s) in 2 text(s)" in replaced


def test_a_line_of_many_reads_costs_what_it_is_long() -> None:
    """Joining what has come at every read copies this line a thousand times: 30 GB."""
    line = b"x" * (64 << 20)
    started = time.process_time()
    assert [len(row[0]) for row in rows_of(line + b"\nshort\n" + line[:70_000])] == [64 << 20, 5, 70_000]
    assert time.process_time() - started < 3
