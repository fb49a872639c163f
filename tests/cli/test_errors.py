"""Wrong input: exit code 2, a message naming flag and value, no traceback, no run folder."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from conftest import as_flags, prose, tiny_bert, word_tokenizer

from zskd.cli import LONGEST, in_one_line
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import to_dict
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.task import TASKS

LABELS = TASKS["sst2"].labels


@pytest.fixture
def refused(cli, tiny_config: DistillConfig):
    """Run `zskd distill` with changed options: it ends with code 2, says all `parts`, writes nothing."""

    def run(*parts: object, **changes: object) -> None:
        done = cli("distill", *as_flags(tiny_config, **changes))
        assert done.code == 2
        assert len(done.errors) == 1
        assert "Traceback" not in done.err
        for part in parts:
            assert str(part) in done.errors[0]
        assert not Path(str(tiny_config.output_dir)).exists()

    return run


def model(folder: Path, network: torch.nn.Module | None = None) -> Path:
    """A saved BERT classifier with the task's labels and a tokenizer."""
    tokenizer = word_tokenizer(prose(50))
    (network or tiny_bert(len(tokenizer), LABELS)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def corpus(path: Path, data: bytes) -> list[str]:
    """The value of --corpus for a file with these bytes."""
    path.write_bytes(data)
    return [str(path)]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["distill", "--task", "sst"], ("--task", "'sst'", "did you mean 'sst2'?")),
        (["distill", "--task", "sst2", "--config", "embeded"], ("--config embeded", "'embedded'")),
        (["distill", "--task", "sst2", "--bath-size", "3"], ("--bath-size", "'--batch-size'")),
        (["distil", "--task", "sst2"], ("distil", "distill")),
        (["evaluate", "--model", "/no", "--task", "sst2", "--data", "probe"], ("--model /no",)),
        (["finetune", "--task", "sst2", "--glue-dir", "/no"], ("--glue-dir /no",)),
        (["distill", "--task", "no.yaml"], ("--task no.yaml", "task file")),
        ([], ("VERB",)),
    ],
    ids=["task", "config", "flag", "verb", "model", "glue_dir", "task_file", "nothing"],
)
def test_program_ends_with_code_2_and_no_traceback(arguments: list[str], parts: tuple, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "ZSKD_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "zskd", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("zskd: error: ")
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("empty.txt", b"", "found an empty file"),
        ("blank.txt", b"\n \n", "found 0"),
        ("binary.txt", b"\x00\x01\x02" * 99, "found binary data"),
        ("late.txt", b"A plain line of text.\n" * 9_999 + b"\x00", "found binary data"),
        ("latin.txt", "Un café très agréable.\n".encode("latin-1") * 99, "expected UTF-8"),
        ("small.txt", "\n".join(prose(20)).encode(), "found 20"),
        ("text.pdf", b"%PDF", "found .pdf"),
        ("broken.txt.gz", b"no gzip at all", "gzip"),
        ("cut.txt.gz", gzip.compress("\n".join(prose(900)).encode())[:-40], "gzip"),
        ("bad.txt.gz", b"\x1f\x8b\x08\x00" + b"\x00" * 6 + b"\xff" * 40, "gzip"),
        ("broken.jsonl", b'{"text": "fine"}\n{"text": \n', "line 2"),
        ("list.jsonl", b"[1]\n", "line 1"),
        ("other.jsonl", b'{"body": "x"}\n', "body"),
        ("latin.jsonl", '{"text": "café"}\n'.encode("latin-1"), "expected UTF-8"),
        ("broken.parquet", b"PAR1 and no more", "parquet"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_corpus_that_is_none(refused, tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    refused("--corpus", name, expected, corpus=corpus(tmp_path / name, data))


def test_corpus_that_is_missing(refused, tmp_path: Path) -> None:
    refused("--corpus", tmp_path / "no.txt", corpus=[str(tmp_path / "no.txt")])
    (tmp_path / "folder").mkdir()
    refused("--corpus", tmp_path / "folder", corpus=[str(tmp_path / "folder")])


def test_corpus_of_one_passage_cannot_be_split(refused, tmp_path: Path) -> None:
    refused("--corpus", "several passages", corpus=corpus(tmp_path / "one.txt", " ".join(prose(600)).encode()))


def test_teacher_with_swapped_labels_is_refused_by_the_gate(refused, teacher_folder: Path) -> None:
    refused(
        f"--teacher {teacher_folder}",
        "swapped",
        "--label-map",
        label_map="negative=positive,positive=negative",
    )


def test_teacher_at_chance_is_refused_by_the_gate(refused, tmp_path: Path) -> None:
    constant = tiny_bert(len(word_tokenizer(prose(50))), LABELS)
    torch.nn.init.zeros_(constant.classifier.weight)
    folder = model(tmp_path / "constant", constant)
    refused(f"--teacher {folder}", "chance is 0.500", "found 0.500", teacher=str(folder))


def test_teacher_with_other_labels(refused, tmp_path: Path) -> None:
    three = model(tmp_path / "three", tiny_bert(200, ("a", "b", "c")))
    refused(f"--teacher {three}", "expected 2 labels", "found 3", teacher=str(three))
    names = model(tmp_path / "names", tiny_bert(200, ("bad", "good")))
    refused(f"--teacher {names}", "bad, good", "--label-map", teacher=str(names))


def test_teacher_without_a_head(refused, tmp_path: Path) -> None:
    folder = model(tmp_path / "headless", tiny_bert(200, LABELS).bert)
    refused(f"--teacher {folder}", "classifier.weight", teacher=str(folder))


def test_teacher_folder_that_lacks_something(refused, tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        folder = model(tmp_path / name)
        for path in folder.glob(f"{name.partition('.')[0]}*"):
            path.unlink()
        refused(f"--teacher {folder}", teacher=str(folder))


def test_teacher_whose_weights_are_cut_off(refused, tmp_path: Path) -> None:
    broken = model(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"\x00" * 64)
    refused(f"--teacher {broken}", "does not load", teacher=str(broken))


def test_student_that_is_none(refused, tmp_path: Path) -> None:
    refused("--student", tmp_path / "no", student=str(tmp_path / "no"))
    refused("--compression", compression=5_000)


def test_inputs_longer_than_the_teacher_reads(refused, tmp_path: Path) -> None:
    letters = [" ".join(line.replace("a", "bcdfghjklm" * 2).split()) for line in prose(600)]
    refused(
        "--max-length",
        "128",
        max_length=256,
        corpus=corpus(tmp_path / "long.txt", "\n".join(letters).encode()),
    )


def test_nothing_left_after_selection(refused) -> None:
    refused("--min-confidence 1.0", min_confidence=1.0)


def test_number_out_of_range(refused) -> None:
    refused("--warmup: expected at most 0.99, found 2.0", warmup=2.0)
    refused("--batch-size: expected at least 1, found 0", batch_size=0)


@pytest.mark.parametrize("value", ["many", "inf", "nan", "1.5"])
def test_number_that_is_none(refused, value: str) -> None:
    refused("--batch-size", value, batch_size=value)


def test_evaluation_file_with_other_columns(refused, glue_dir: Path) -> None:
    (glue_dir / "SST-2" / "dev.tsv").write_text("text\tlabel\nfine\t1\n", encoding="utf-8")
    refused("--glue-dir", "sentence", "found text, label", glue_dir=str(glue_dir))


def test_run_folder_that_is_taken_stays_as_it_is(cli, tiny_config: DistillConfig) -> None:
    run = Path(str(tiny_config.output_dir))
    run.mkdir()
    mine = to_dict(with_task_defaults(tiny_config))
    other, same = yaml.safe_dump({**mine, "seed": 9}), yaml.safe_dump(mine)
    for name, text, expected in (
        ("notes.txt", "mine", "other files"),
        ("config.yaml", other, "seed 9 there, 0 here"),
        ("config.yaml", same, "--resume"),
    ):
        (run / name).write_text(text, encoding="utf-8")
        before = {path: path.read_bytes() for path in run.iterdir()}
        done = cli("distill", *as_flags(tiny_config))
        assert done.code == 2
        assert f"--output-dir {run}" in done.errors[0]
        assert expected in done.errors[0]
        assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_a_message_is_one_line_of_limited_length() -> None:
    assert in_one_line("as it is: é 文 \u00a0") == "as it is: é 文 \u00a0"
    assert in_one_line("a\nb\x1b[2J\u2028\udcff\t") == "a\\nb\\x1b[2J\\u2028\\udcff\\t"
    long = in_one_line("--corpus " + "x" * 5_000 + ": expected a file")
    assert len(long) == LONGEST and long.startswith("--corpus x") and long.endswith(": expected a file")


LONG = "x" * 256


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["validate", "--task", "pipe.yaml"], "--task pipe.yaml: expected a task file, found a pipe"),
        (["validate", "--task", "~nobody-here/t.yaml"], "--task ~nobody-here/t.yaml: expected a task file, found none"),
        (["finetune", "--task", "sst2", "--glue-dir", "file/x"], "found none (Not a directory)"),
        (["finetune", "--task", "sst2", "--adapter", LONG], "--adapter: expected names of at most 255 bytes"),
        (["evaluate", "--task", "sst2", "--model", LONG, "--data", "probe"], "--model: expected names of at most 255"),
        (["evaluate", "--task", "sst2", "--model", "a/b", "--data", "pipe"], "at pipe, found a pipe"),
        (["predict", "--model", "a/b", "--input", "loop"], "standard input; found none (Too many levels"),
        (["predict", "--model", "a/b", "--output", "socket"], "--output socket: expected a file or a new name, "),
        (["predict", "--model", "a/b", "--output", "file/x"], "--output file/x: expected a file or a new name"),
        (["predict", "--model", "a/b", "--cache-dir", "pipe/x"], "--cache-dir pipe/x: expected a folder"),
        (["diagnose", "--task", "sst2", LONG], "--model: expected names of at most 255 bytes"),
        (["diagnose", "--task", "sst2", "~nobody-here"], "TEACHER ~nobody-here: expected a model folder, found none"),
        (["report", "~nobody-here"], "~nobody-here: expected the folder of a finished run, found none"),
        (["report", LONG], "RUN: expected names of at most 255 bytes"),
        (["report", "run", "--output", "loop"], "--output loop: expected a file or a new name, found none (Too many"),
        (["publish", LONG, "--repo-id", "a/b"], "RUN: expected names of at most 255 bytes"),
        (["publish", "run", "--repo-id", "a/b", "--template", "pipe"], "--template pipe: expected a Jinja file"),
        (["export", "file/x", "--format", "onnx", "--output-dir", "broken/x"], "--output-dir broken/x: expected"),
        (["export", "run", "--format", "onnx", "--data", ""], "--data: expected a value, found an empty text"),
        (["ls", "--cache-dir", "loop"], "--cache-dir loop: expected a folder, found none (Too many levels"),
        (["ls", "--cache-dir", "\udcff"], "--cache-dir: expected UTF-8 text, found other bytes in '\\udcff'"),
        (["distill", "--output-dir", "broken", "--task", "sst2"], "--output-dir broken: expected a folder, found none"),
        (["validate", "y" * 9_000], "unknown argument "),
    ],
)  # fmt: skip
def test_odd_paths_are_one_short_line_for_every_verb(
    command: list[str], said: str, cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    before = sorted(tmp_path.iterdir())
    done = cli(*command)
    assert done.code == 2
    assert said in done.err and max(map(len, done.err.splitlines())) < 1_000
    assert sorted(tmp_path.iterdir()) == before
