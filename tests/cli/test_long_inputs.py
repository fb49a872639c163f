"""Long inputs: all read the same of them, what is cut is said, and every verb refuses what a model cannot read."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from faulty_lengths import LONG_ENOUGH, SHORT, TOO_SHORT, word_decides
from labelled_rows import prose
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from zskd.models.encoding import encode_texts
from zskd.models.labels import LENGTH_FIELD
from zskd.models.lengths import record_length, save_tokenizer

Builder = Callable[[Path], None]

# Sixty texts of eight sentences, whose last but one has the word that decides.
WORDS = ["fine" if i % 2 else "dull" for i in range(60)]
SENTENCES = prose(60 * 7)
TEXTS = [
    " ".join([*SENTENCES[7 * i : 7 * i + 6], f"The {word} river ends.", SENTENCES[7 * i + 6]])
    for i, word in enumerate(WORDS)
]


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student as zskd saves it after a training at 64 tokens."""
    folder, made = tmp_path_factory.mktemp("start"), tmp_path_factory.mktemp("student")
    word_decides(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    encode_texts(tokenizer, (TEXTS,), 64)  # the last call of a training
    record_length(model.config, 64)
    model.save_pretrained(made)
    save_tokenizer(tokenizer, model.config, made)
    return made


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """The texts in SST-2's columns."""
    path = tmp_path / "dev.tsv"
    rows = [f"{text}\t{int(word == 'fine')}" for text, word in zip(TEXTS, WORDS, strict=True)]
    path.write_text("\n".join(["sentence\tlabel", *rows, ""]), encoding="utf-8")
    return path


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


def predicted(cli, model: Path, lines: Path, *more: object) -> tuple[list[str], str]:
    done = cli("predict", "--model", model, "--input", lines, "--json", *more)
    assert done.code == 0, done.err
    return [json.loads(line)["label"] for line in done.out.splitlines()], done.err


EXPECTED = ["positive" if word == "fine" else "negative" for word in WORDS]


def test_a_word_after_the_training_length_decides_for_everyone(cli, late: Path, lines: Path, labelled: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(late)
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    places = [row.index(tokenizer.convert_tokens_to_ids(word)) for row, word in zip(ids, WORDS, strict=True)]
    assert min(places) > 64 and max(map(len, ids)) < 512
    assert predicted(cli, late, lines)[0] == EXPECTED
    assert [found["label"] for found in pipeline("text-classification", str(late))(TEXTS, truncation=True)] == EXPECTED
    scores = json.loads(cli("evaluate", "--model", late, "--task", "sst2", "--data", labelled, "--json").out)
    assert (scores["accuracy"], scores["max_length"], scores["cut"]) == (1.0, 512, 0)
    # A student reads by itself as the tokenizers library alone reads its file.
    plain = Tokenizer.from_file(str(late / "tokenizer.json"))
    assert [row.ids for row in plain.encode_batch(TEXTS)] == encode_texts(tokenizer, (TEXTS,), 512)["input_ids"]
    long = " ".join(TEXTS)
    assert len(plain.encode(long).ids) == len(tokenizer(long, truncation=True)["input_ids"]) == 512


def test_one_length_stands_in_all_files(late: Path) -> None:
    config, saved = (json.loads((late / name).read_text()) for name in ("tokenizer_config.json", "tokenizer.json"))
    assert config["model_max_length"] == saved["truncation"]["max_length"] == 512
    assert saved["padding"] is None
    assert json.loads((late / "config.json").read_text())[LENGTH_FIELD] == 64


def test_what_is_cut_is_counted_and_said_once(cli, late: Path, lines: Path, labelled: Path) -> None:
    answers, log = predicted(cli, late, lines, "--max-length", 64, "--batch-size", 7)
    assert answers == ["negative"] * 60  # the word that decides was not read
    assert log.count("60 of 60 lines were longer than 64 tokens and were cut (--max-length)") == 1
    assert "was trained on" not in log
    done = cli("evaluate", "--model", late, "--task", "sst2", "--data", labelled, "--json", "--max-length", 64)
    scores = json.loads(done.out)
    assert (scores["accuracy"], scores["max_length"], scores["cut"]) == (0.5, 64, 60)
    assert done.err.count("60 of 60 rows were longer than 64 tokens and were cut (--max-length)") == 1


def test_a_student_says_once_that_it_reads_more_than_it_was_trained_on(cli, late: Path, lines: Path, labelled) -> None:
    _, log = predicted(cli, late, lines, "--batch-size", 7)
    assert log.count("was trained on inputs of up to 64 tokens and reads longer ones") == 1 and "cut" not in log
    done = cli("evaluate", "--model", late, "--task", "sst2", "--data", labelled)
    assert done.err.count("was trained on inputs of up to 64 tokens") == 1


def test_an_older_student_reads_as_much_as_its_tokenizer_says(cli, late: Path, lines: Path, tmp_path: Path) -> None:
    old = shutil.copytree(late, tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    del config[LENGTH_FIELD]
    (old / "config.json").write_text(json.dumps(config))
    saved = json.loads((old / "tokenizer.json").read_text())
    saved["truncation"]["max_length"] = 64
    saved["padding"] = {"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                        "pad_type_id": 0, "pad_token": "[PAD]"}  # fmt: skip
    (old / "tokenizer.json").write_text(json.dumps(saved))
    answers, log = predicted(cli, old, lines)
    assert answers == EXPECTED and "trained on" not in log


def test_a_wrong_training_length_is_named(cli, late: Path, lines: Path, tmp_path: Path) -> None:
    wrong = shutil.copytree(late, tmp_path / "wrong")
    config = json.loads((wrong / "config.json").read_text()) | {LENGTH_FIELD: "64"}
    (wrong / "config.json").write_text(json.dumps(config))
    done = cli("predict", "--model", wrong, "--input", lines)
    assert done.code == 2 and LENGTH_FIELD in done.errors[0] and "'64'" in done.errors[0]


# --- models that read less ---


def folder_of(build: Builder, tmp_path: Path, weights: bool = True) -> Path:
    folder = tmp_path / build.__name__
    folder.mkdir()
    build(folder)
    if not weights:  # whoever loads them before the check says so
        for path in folder.rglob("*.safetensors"):
            path.unlink()
    return folder


VERBS = {
    "evaluate": ("--model", "--task", "sst2", "--data", "probe"),
    "predict": ("--model",),
    "predict --task": ("--model", "--task", "sst2"),
    "diagnose": ("TEACHER", "--task", "sst2"),
    "distill --teacher": ("--teacher", "--task", "sst2"),
    "distill --student": ("--student", "--task", "sst2", "--teacher", "embedded"),
    "distill --generator": ("--generator", "--task", "sst2", "--teacher", "embedded", "--perturb", "adversarial"),
    "finetune --base": ("--base", "--task", "sst2", "--full"),
}


def ask(cli, verb: str, folder: Path, tmp_path: Path, corpus: Path, glue: Path, *more: object):
    flag_name, *arguments = VERBS[verb]
    verb = verb.split()[0]
    named = [folder] if flag_name == "TEACHER" else [flag_name, folder]
    if verb in ("distill", "diagnose"):
        arguments += ["--corpus", corpus]
    if verb in ("distill", "finetune"):
        arguments += ["--output-dir", tmp_path / "out"]
    if verb == "finetune":
        arguments += ["--glue-dir", glue]
    return cli(verb, *named, *arguments, *more)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("build", TOO_SHORT, ids=lambda build: build.__name__)
def test_a_length_that_a_model_cannot_read_is_refused_before_its_weights_load(
    cli, build: Builder, verb: str, tmp_path: Path, corpus_file: Path, glue_dir: Path
) -> None:
    folder = folder_of(build, tmp_path, weights=False)
    done = ask(cli, verb, folder, tmp_path, corpus_file, glue_dir, "--max-length", 64)
    assert done.code == 2, done.err
    if "adapter" in build.__name__ and verb in ("distill --student", "finetune --base"):
        assert "expected a whole model, found an adapter" in done.err
        return
    (problem,) = [line for line in done.errors if "--max-length" in line]
    limit = TOO_SHORT[build]
    assert "--max-length 64: expected at most the 16" in problem and limit in problem and str(folder) in problem
    assert VERBS[verb][0] in problem


@pytest.mark.parametrize("verb", [verb for verb in VERBS if not verb.startswith(("evaluate", "predict"))])
def test_a_tasks_default_length_is_refused_alike(
    cli, verb: str, tmp_path: Path, corpus_file: Path, glue_dir: Path
) -> None:
    folder = folder_of(next(iter(TOO_SHORT)), tmp_path)
    done = ask(cli, verb, folder, tmp_path, corpus_file, glue_dir)
    assert done.code == 2
    (problem,) = [line for line in done.errors if "--max-length" in line]
    assert re.search(rf"--max-length (64|128): expected at most the {SHORT} positions of {VERBS[verb][0]} ", problem)


@pytest.mark.parametrize("build", [*TOO_SHORT, *LONG_ENOUGH], ids=lambda build: build.__name__)
def test_without_a_length_a_model_reads_what_it_can(
    cli, build: Builder, lines: Path, labelled: Path, tmp_path: Path
) -> None:
    folder = folder_of(build, tmp_path)
    length = LONG_ENOUGH.get(build, SHORT)
    done = cli("evaluate", "--model", folder, "--task", "sst2", "--data", labelled, "--json")
    assert done.code == 0, done.err
    scores = json.loads(done.out)
    assert (scores["max_length"], scores["cut"]) == (length, 60 if length == SHORT else 0)
    done = cli("predict", "--model", folder, "--input", lines, "--json")
    assert done.code == 0 and ("60 of 60 lines" in done.err) == (length == SHORT)
    if (folder / "adapter_config.json").is_file():
        return
    # What plain transformers says of as many tokens.
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for text, line in list(zip(TEXTS, done.out.splitlines(), strict=True))[:3]:
        with torch.inference_mode():
            batch = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
            names = ["input_ids", "attention_mask"]
            shares = model(**{name: batch[name] for name in names}).logits.softmax(-1)[0]
        np.testing.assert_allclose(list(json.loads(line)["probabilities"].values()), shares, atol=2e-6)


@pytest.mark.parametrize("build", LONG_ENOUGH, ids=lambda build: build.__name__)
def test_a_length_that_a_model_can_read_is_not_refused(cli, build: Builder, labelled: Path, tmp_path: Path) -> None:
    folder = folder_of(build, tmp_path)
    done = cli("evaluate", "--model", folder, "--task", "sst2", "--data", labelled, "--json", "--max-length", 100)
    assert done.code == 0 and json.loads(done.out)["cut"] == 60


@pytest.mark.parametrize("verb", ["evaluate", "predict", "distill --teacher", "finetune --base"])
def test_a_length_without_room_for_text_is_refused(
    cli, verb: str, late: Path, tmp_path: Path, corpus_file: Path, glue_dir: Path
) -> None:
    for length in (0, 1, 2, 3):
        done = ask(cli, verb, late, tmp_path, corpus_file, glue_dir, "--max-length", length)
        assert done.code == 2 and any(f"--max-length: expected at least 8, found {length}" in e for e in done.errors)
