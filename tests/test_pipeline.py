"""The whole walk with tiny teachers: local ones, tasks of one's own, and teachers that are only a function."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import as_flags
from datasets import Dataset
from faulty_lengths import few_positions
from labelled_rows import TOPIC_WORDS, glue_folder, prose, task_file
from small_encoder import corpus as corpus_of_words
from small_encoder import encoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import zskd
from zskd.config.distillation import DistillConfig
from zskd.errors import InputError
from zskd.pipeline import distill
from zskd.runs.folder import run_path
from zskd.runs.read import read_part
from zskd.system.files import sha256_file
from zskd.tasks.task import find_task
from zskd.text.pairs import family_shares, perturbed_share


def metrics_of(config: DistillConfig) -> dict[str, Any]:
    return json.loads((run_path(config) / "metrics.json").read_text(encoding="utf-8"))


def weights(config: DistillConfig) -> str:
    return sha256_file(run_path(config) / "student" / "model.safetensors")


def share_right(compared: dict[str, Any]) -> float:
    return float(np.trace(np.array(compared["confusion"]))) / compared["rows"]


def test_local_teacher_leaves_the_whole_run_folder(tiny_config: DistillConfig, glue_dir) -> None:
    metrics = distill(replace(tiny_config, glue_dir=str(glue_dir))).metrics
    run = run_path(tiny_config)
    assert metrics_of(tiny_config) == metrics
    student = AutoModelForSequenceClassification.from_pretrained(run / "student")
    tokenizer = AutoTokenizer.from_pretrained(run / "student")
    assert student.config.id2label == {0: "negative", 1: "positive"}
    assert student(**tokenizer("a fine film", return_tensors="pt")).logits.shape == (1, 2)
    analysis = json.loads((run / "analysis.json").read_text(encoding="utf-8"))
    assert analysis["labels"] == ["negative", "positive"]
    assert share_right(analysis["heldout"]) == pytest.approx(metrics["agreement"])
    for who in ("teacher", "student"):
        accuracy = metrics[who]["scores"]["glue"]["accuracy"]
        assert share_right(analysis["evaluation"]["glue"][who]) == pytest.approx(accuracy)
        assert analysis["latency"][who]["milliseconds"] > 0


@pytest.mark.parametrize("name", ["topics", "answers"])
def test_task_of_ones_own_from_the_command_line(name: str, cli, config_for, own_tasks, tmp_path: Path) -> None:
    config = config_for(own_tasks[name])
    task = find_task(config.task)
    glue = glue_folder(tmp_path / "labelled", task)
    done = cli("distill", *as_flags(config, glue_dir=glue))
    assert done.code == 0, done.err
    metrics = metrics_of(config)
    probe = {"probe"} if name == "topics" else set()
    assert metrics["task"] == name
    for who in ("teacher", "student"):
        assert set(metrics[who]["scores"]) == probe | set(task.dev_files)
    assert all(metrics["student"]["scores"][name]["rows"] == 24 for name in task.dev_files)
    assert metrics["zero_shot"] == {
        "enforced": True,
        "read_before_training": ["probe (teacher gate)"] if probe else [],
        "read_after_training": [*sorted(probe), *task.dev_files],
    }
    assert ("no probe" in done.err) == (not probe)
    assert set(metrics["transfer_set"]["classes"]) == set(task.labels)
    report = json.loads((run_path(config) / "transfer_set.json").read_text(encoding="utf-8"))
    families = {group["family"] for group in report["groups"]}
    pairs = family_shares(task.inputs, perturbed_share(task.inputs)).keys()
    assert families == ({"sentence", "perturbed span"} if name == "topics" else pairs)
    assert report["rows"] == config.pool_size
    student = AutoModelForSequenceClassification.from_pretrained(run_path(config) / "student")
    assert tuple(student.config.id2label.values()) == task.labels
    dev = glue / next(iter(task.dev_files.values()))
    again = cli("evaluate", "--model", run_path(config) / "student", "--task", config.task, "--data", dev, "--json")
    main = next(iter(task.dev_files))
    assert json.loads(again.out)["accuracy"] == metrics["student"]["scores"][main]["accuracy"]


def test_five_classes_are_learnt_from_unrelated_text(config_for, own_tasks: dict[str, str], tmp_path: Path) -> None:
    config = config_for(own_tasks["topics"], pool_size=1_200, epochs=3.0, learning_rate=5e-3)
    glue = glue_folder(tmp_path / "labelled", find_task(config.task), count=80)
    metrics = distill(replace(config, glue_dir=str(glue))).metrics
    scores = {who: metrics[who]["scores"]["dev"] for who in ("teacher", "student")}
    assert scores["teacher"]["accuracy"] > 0.8
    assert scores["student"]["accuracy"] > scores["student"]["majority"] + 0.3


def test_wrong_probe_of_ones_own_stops_the_run(config_for, own_tasks: dict[str, str], tmp_path: Path, cli) -> None:
    task = find_task(own_tasks["topics"])
    values = {
        "text_columns": list(task.text_columns),
        "label_column": task.label_column,
        "labels": list(task.labels),
        "file_labels": {str(i): task.labels[i - 1] for i in range(5)},
        "probe": task.probe,
    }
    wrong = task_file(tmp_path / "topics.yaml", values)
    config = config_for(own_tasks["topics"])
    done = cli("distill", *as_flags(config, task=wrong))
    assert done.code == 2
    assert len(done.errors) == 1 and "topics probe" in done.errors[0]
    assert not run_path(config).exists()


def test_overlap_with_the_transfer_set_is_reported(config_for, own_tasks: dict[str, str], tmp_path: Path) -> None:
    config = config_for(own_tasks["topics"])
    task = find_task(config.task)
    glue = glue_folder(tmp_path / "labelled", task)
    dev = glue / "dev.tsv"
    clean = distill(replace(config, glue_dir=str(glue))).metrics
    corpus = Path(config.corpus[0]).read_text(encoding="utf-8").replace(". The", ".\nThe").splitlines()
    lines = dev.read_text(encoding="utf-8").splitlines()
    lines += [f"{i}\twater\t{text.upper()}" for i, text in enumerate(corpus)]
    dev.write_text("\n".join(lines) + "\n", encoding="utf-8")
    dirty = distill(replace(config, glue_dir=str(glue), output_dir=str(tmp_path / "dirty"))).metrics
    overlaps = [metrics["student"]["scores"]["dev"]["overlap"] for metrics in (clean, dirty)]
    # Whole sentences are a sixth of the pool.
    assert overlaps[0] == 0 and config.pool_size // 6 - 5 <= overlaps[1] < config.pool_size // 3
    assert "overlap" not in dirty["student"]["scores"]["probe"]


# Teachers of which only the outputs are known.

SOURCE = f"""
WORDS = {list(TOPIC_WORDS.values())!r}

def ask(texts):
    rows = []
    for text in texts:
        words = text.lower().split()
        rows.append([3.0 * any(word in words for word in known) for known in WORDS])
    return rows
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write a module into the working folder; ``module:function`` of its ``ask``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = "zskd_test_topic_teacher"

    def module(source: str) -> str:
        sys.modules.pop(name, None)
        Path(f"{name}.py").write_text(source, encoding="utf-8")
        return f"{name}:ask"

    yield module
    sys.modules.pop(name, None)


@pytest.fixture
def black_box(config_for, own_tasks: dict[str, str], student_folder: Path, module) -> DistillConfig:
    """A distillation of the topics with a callable teacher."""
    return config_for(own_tasks["topics"], teacher=module(SOURCE), student=str(student_folder))


def callable_teacher() -> Callable[[list[str]], list[list[float]]]:
    namespace: dict[str, Any] = {}
    exec(SOURCE, namespace)
    return namespace["ask"]


def test_callable_teacher_by_name_and_as_an_object(cli, black_box: DistillConfig, tmp_path: Path) -> None:
    glue = glue_folder(tmp_path / "labelled", find_task(black_box.task))
    done = cli("distill", *as_flags(black_box, glue_dir=glue))
    assert done.code == 0, done.err
    metrics = metrics_of(black_box)
    assert metrics["teacher"]["name"] == black_box.teacher
    assert metrics["teacher"]["parameters"] is None and metrics["compression"] is None
    assert "unknown" in done.out
    assert metrics["teacher"]["scores"]["dev"]["accuracy"] == metrics["teacher"]["scores"]["probe"]["accuracy"] == 1.0
    assert metrics["teacher_queries"] == metrics["teacher_queries_by_use"]["texts"]

    object_run = replace(black_box, teacher="default", output_dir=str(tmp_path / "object"), glue_dir=str(glue))
    found = distill(object_run, teacher=callable_teacher()).metrics
    assert weights(object_run) == weights(black_box)
    assert found["student"] == metrics["student"]

    # The same function with its columns in another order, and their names.
    order = (3, 0, 4, 1, 2)
    plain = callable_teacher()

    def turned(texts: list[str]) -> np.ndarray:
        return np.array(plain(texts))[:, list(order)]

    labels = find_task(black_box.task).labels
    turned.labels = [labels[i] for i in order]  # type: ignore[attr-defined]
    turned.parameters = 10**9  # type: ignore[attr-defined]
    turned_run = replace(object_run, output_dir=str(tmp_path / "turned"))
    found = distill(turned_run, teacher=turned).metrics
    assert weights(turned_run) == weights(black_box)
    assert found["compression"] == 10**9 / found["student"]["parameters"]


def test_callable_teacher_of_pairs(config_for, own_tasks, student_folder: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    config = config_for(own_tasks["answers"], teacher="default", student=str(student_folder), cache_dir=cache)
    seen: list[Any] = []

    def ask(rows: list[tuple[str, str]]) -> list[list[float]]:
        seen.extend(rows)
        return [[float(len(a) % 3 == i) + 0.01 * len(b) for i in range(3)] for a, b in rows]

    ask.fingerprint = "first version"  # type: ignore[attr-defined]
    metrics = distill(config, teacher=ask).metrics
    assert all(isinstance(row, tuple) and len(row) == 2 for row in seen)
    assert metrics["teacher_queries_live"] == metrics["teacher_queries"] > 320
    assert metrics["teacher"]["scores"] == {}
    seen.clear()
    again = distill(replace(config, output_dir=f"{config.output_dir}-again"), teacher=ask).metrics
    assert again["teacher_queries_live"] == 0 and len(seen) < 10


def test_a_callable_may_answer_with_probabilities_or_with_labels_alone(
    cli, black_box: DistillConfig, tmp_path: Path
) -> None:
    labels = find_task(black_box.task).labels
    logits = callable_teacher()

    def shares(texts: list[str]) -> np.ndarray:
        odds = np.exp(np.array(logits(texts)))
        return odds / odds.sum(axis=1, keepdims=True)

    def words(texts: list[str]) -> list[str]:
        return [labels[i] for i in np.array(logits(texts)).argmax(axis=1)]

    plain = distill(black_box).metrics
    for outputs, ask in (("probabilities", shares), ("labels", words)):
        config = replace(black_box, teacher="default", teacher_outputs=outputs, output_dir=str(tmp_path / outputs))
        found = distill(config, teacher=ask).metrics
        assert found["teacher"]["scores"] == plain["teacher"]["scores"]
        assert found["teacher_queries"] == plain["teacher_queries"]
        options = yaml.safe_load((tmp_path / outputs / "config.yaml").read_text(encoding="utf-8"))
        assert (options["teacher_outputs"], options["objective"]) == (
            outputs,
            "hard-label" if outputs == "labels" else "kd",
        )
    done = cli("distill", *as_flags(black_box, teacher_outputs="labels", output_dir=str(tmp_path / "wrong")))
    assert done.code == 2 and "--teacher-outputs logits" in done.errors[0]


def test_a_model_object_is_distilled_like_its_folder(tiny_config: DistillConfig, tmp_path: Path) -> None:
    distill(tiny_config)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_config.teacher)
    tokenizer = AutoTokenizer.from_pretrained(tiny_config.teacher)
    run = replace(tiny_config, teacher="default", output_dir=str(tmp_path / "object"))
    found = distill(run, teacher=model, tokenizer=tokenizer).metrics
    assert weights(run) == weights(tiny_config)
    assert found["teacher_queries_live"] == 0  # the same weights are known by the same key


SMALL: dict[str, Any] = {
    "compression": 2.0, "pool_size": 320, "heldout": 32, "max_length": 32, "epochs": 1.0, "batch_size": 32,
    "checkpoints": 1, "precision": "fp32",
}  # fmt: skip


def test_a_resumed_run_of_a_model_object_is_held_to_its_weights(tiny_config: DistillConfig) -> None:
    """The run folder names no teacher then, and would pass for the run of any."""
    config = replace(tiny_config, teacher="default", pool_size=128, epochs=1.0, checkpoints=1, compression=1.5)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_config.teacher)
    tokenizer = AutoTokenizer.from_pretrained(tiny_config.teacher)
    first = distill(config, teacher=model, tokenizer=tokenizer)
    again = distill(replace(config, resume=True), teacher=model, tokenizer=tokenizer)
    assert again.metrics == first.metrics
    with torch.no_grad():
        model.classifier.bias.add_(1.0)
    with pytest.raises(InputError, match="holds a run of a teacher with other weights"):
        distill(replace(config, resume=True), teacher=model, tokenizer=tokenizer)


def test_what_one_has_in_hand_is_distilled(
    teacher_folder: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ZSKD_CACHE", str(shared_cache))
    model = AutoModelForSequenceClassification.from_pretrained(teacher_folder)
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    labels = ["positive", "negative"]  # in another order than the model's
    with caplog.at_level("INFO", logger="zskd"):
        result = zskd.distill(teacher=model, tokenizer=tokenizer, labels=labels, texts=prose(150), **SMALL)
    try:
        assert "held out: 16 inputs to choose the checkpoint, 1" in caplog.text and "run folder: " in caplog.text
        assert not result.student.training and result.student.dtype == torch.float32
        assert list(result.student.config.id2label.values()) == labels
        assert result.student(**result.tokenizer("a film", return_tensors="pt")).logits.shape == (1, 2)
        assert 0.0 <= result.metrics["agreement"] <= 1.0
        assert zskd.Result.read(result.run_dir).metrics == result.metrics
        assert all(map(torch.equal, before.values(), model.state_dict().values())), "the teacher is left alone"
    finally:
        shutil.rmtree(result.run_dir)


def test_pairs_and_a_teacher_that_is_ready_are_distilled(
    student_folder: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZSKD_CACHE", str(shared_cache))
    task = zskd.Task(name="same", text_columns=("a", "b"), label_column="same", labels=("no", "yes"))
    seen: set[tuple[str, str]] = set()

    def ask(pairs: list[tuple[str, str]]) -> list[str]:
        seen.update(pairs)
        return ["yes" if len(a) > len(b) else "no" for a, b in pairs]

    rows = {"text": prose(150), "text_b": prose(150, seed=3)}
    teacher = zskd.load_teacher(task, ask, outputs="labels")
    result = zskd.distill(
        teacher=teacher, task=task, run_dir=tmp_path / "run",
        texts=Dataset.from_dict(rows), student=student_folder, **{**SMALL, "max_class_share": 1.0},
    )  # fmt: skip
    assert result.run_dir == tmp_path / "run" and set(zip(*rows.values(), strict=True)) <= seen
    report = json.loads((result.run_dir / "transfer_set.json").read_text(encoding="utf-8"))
    assert {group["family"] for group in report["groups"]} == {"given"}
    with pytest.raises(InputError, match=r"expected 3 classes \(a, b, c\), found 2"):
        zskd.distill(teacher=teacher, labels=["a", "b", "c"], texts=Dataset.from_dict(rows), student=student_folder)
    options = yaml.safe_load((result.run_dir / "config.yaml").read_text(encoding="utf-8"))
    assert (options["teacher_outputs"], options["objective"]) == ("labels", "hard-label")


@pytest.fixture
def refused(cli, black_box: DistillConfig, module) -> Callable[..., None]:
    """The callable teacher with other source or options: code 2, one message with all `parts`, no run folder."""

    def refused(source: str, *parts: str, **changes: Any) -> None:
        module(source)
        done = cli("distill", *as_flags(black_box, **changes))
        assert done.code == 2
        assert len(done.errors) == 1, done.errors
        for part in parts:
            assert part in done.errors[0]
        assert not run_path(black_box).exists()

    return refused


CALLABLES = {
    "shape": ("def ask(texts):\n    return [[0.0, 1.0]] * len(texts)\n", ("(8, 5)", "(8, 2)")),
    "rows": ("def ask(texts):\n    return [[0.0] * 5]\n", ("(8, 5)", "(1, 5)")),
    "NaN": ("def ask(texts):\n    return [[float('nan')] * 5] * len(texts)\n", ("finite",)),
    "NaN in the pool": (
        SOURCE.replace("3.0 *", "float('nan' if ' in ' in text else 3) *"),
        ("finite",),
    ),
    "text": ("def ask(texts):\n    return ['water'] * len(texts)\n", ("numbers",)),
    "label names": (SOURCE + "\nask.labels = ['a', 'b', 'c', 'd', 'e']\n", ("found a, b, c, d, e", "--label-map")),
    "number of labels": (SOURCE + "\nask.labels = ['water', 'land']\n", ("expected 5 labels", "found 2")),
    "no function": ("other = 1\n", ("module:function", "ask")),
    "no callable": ("ask = 1\n", ("called", "int")),
    "import": ("import no_such_module_anywhere\n", ("no_such_module_anywhere",)),
    "chance": ("def ask(texts):\n    return [[1.0, 0, 0, 0, 0]] * len(texts)\n", ("topics probe", "chance is")),
    "swapped": (SOURCE.replace("return rows", "return [r[1:] + r[:1] for r in rows]"), ("swapped", "--label-map")),
}  # fmt: skip


@pytest.mark.parametrize(("source", "parts"), CALLABLES.values(), ids=CALLABLES)
def test_callable_that_is_no_teacher_of_the_task(refused, source: str, parts: tuple[str, ...]) -> None:
    refused(source, "--teacher zskd_test_topic_teacher:ask", *parts)


def test_callable_gives_nothing_to_build_a_student_from(refused) -> None:
    refused(SOURCE, "--student build", student="build", start_from="none")


@pytest.mark.parametrize("text", ["a=water,b=water", "water=land", "water=land,land=water,art=land", "sky=water"])
def test_label_map_that_is_no_bijection(refused, cli, config_for, own_tasks, text: str) -> None:
    refused(SOURCE, "--label-map", label_map=text)
    config = config_for(own_tasks["topics"])
    done = cli("distill", *as_flags(config, label_map=text))
    assert done.code == 2 and len(done.errors) == 1 and "--label-map" in done.errors[0]
    assert not run_path(config).exists()


# The balance of the classes.


def leaning(share: float) -> Callable[[list[str]], list[list[float]]]:
    """A teacher that answers the first class for about this share of all texts."""

    def ask(texts: list[str]) -> list[list[float]]:
        first = [sum(text.encode()) % 100 < 100 * share for text in texts]
        return [[2.0, 0.0] if yes else [0.0, 2.0] for yes in first]

    return ask


@pytest.fixture
def two_classes(config_for, student_folder: Path, tmp_path: Path) -> DistillConfig:
    """A task without a probe, and every option of the selection at its default."""
    task = task_file(
        tmp_path / "two.yaml", {"text_columns": ["text"], "label_column": "label", "labels": ["often", "seldom"]}
    )
    return config_for(
        task, teacher="default", student=str(student_folder), pool_size=640, cache_dir=str(tmp_path / "cache"),
        max_class_share=DistillConfig.max_class_share,
    )  # fmt: skip


@pytest.mark.parametrize(("share", "limit"), [(0.6, 0.8), (0.93, 0.8), (0.6, 0.5), (0.93, 0.5)])
def test_inputs_of_a_rare_class_are_repeated(two_classes: DistillConfig, share: float, limit: float) -> None:
    metrics = distill(replace(two_classes, max_class_share=limit), teacher=leaning(share)).metrics
    kept = metrics["transfer_set"]
    often = kept["classes"]["often"]
    assert often["share_before"] == pytest.approx(share, abs=0.05)
    assert kept["texts"] == 640, "no input is dropped"
    if share < limit:
        assert (often["share"], kept["rows"]) == (often["share_before"], 640)
    else:
        assert often["share"] == pytest.approx(limit, abs=0.005)
        assert kept["rows"] == pytest.approx(640 * often["share_before"] / limit, abs=2)
    assert metrics["steps"] == 640 * two_classes.epochs / two_classes.batch_size, "whatever was repeated"


def test_teacher_that_always_answers_one_class_stops_the_run(two_classes: DistillConfig) -> None:
    with pytest.raises(InputError, match=r"max_class_share 0\.5.*relax it or give other text"):
        distill(two_classes, teacher=leaning(1.1))
    assert not run_path(two_classes).exists()


# --- lengths ---


def test_a_run_says_what_it_was_trained_on_and_what_was_cut(tiny_config: DistillConfig, glue_dir: Path, caplog) -> None:
    config = replace(tiny_config, max_length=8, epochs=0.2, glue_dir=str(glue_dir))
    caplog.set_level("WARNING", logger="zskd")
    result = distill(config)
    cut = result.metrics["cut"]
    assert result.metrics["max_length"] == 8 and cut["scoring"]["student"]["glue"] == cut["scoring"]["teacher"]["glue"]
    rows = (glue_dir / "SST-2" / "dev.tsv").read_text(encoding="utf-8").splitlines()[1:]
    texts = [row.split("\t")[0] for row in rows]
    assert cut["scoring"]["student"]["glue"] == sum(len(ids) > 8 for ids in result.tokenizer(texts)["input_ids"])
    said = [record.getMessage() for record in caplog.records]
    for part in ("transfer", "select", "report"):
        assert cut["labelling"][part] > 0
        (line,) = [text for text in said if text.startswith(f"labelling, {part}: ")]
        assert line.startswith(f"labelling, {part}: {cut['labelling'][part]:,} of ") and "longer than 8 tokens" in line
    assert result.student.config.zskd_max_length == 8 and result.tokenizer.model_max_length == 128
    folder = run_path(config) / "student"
    assert json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["truncation"]["max_length"] == 128


def test_a_model_object_that_cannot_read_the_inputs_is_refused(tiny_config: DistillConfig, tmp_path: Path) -> None:
    few_positions(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"max_length 64: expected at most the 16 positions of teacher"):
        distill(replace(tiny_config, max_length=64), teacher=model, tokenizer=tokenizer)
    assert not run_path(tiny_config).exists()


@pytest.mark.slow
def test_wide_pairs_are_distilled_and_their_grid_and_encoder_are_recorded(
    config_for, own_tasks: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    for stage in ("inputs", "teachers", "students"):
        monkeypatch.setattr(f"zskd.stages.{stage}.embedded_encoder", lambda cache: encoder())
    text = corpus_of_words(tmp_path)
    runs = {}
    for pairs in ("plain", "wide"):
        config = config_for(own_tasks["answers"], corpus=list(text.sources), pairs=pairs, language="en")
        with caplog.at_level("INFO", logger="zskd"):
            made = distill(replace(config, output_dir=str(tmp_path / pairs)))
        runs[pairs] = {
            name: json.loads((made.run_dir / f"{name}.json").read_text()) for name in ("record", "transfer_set")
        }
        assert read_part(made.run_dir, "transfer_set.json") == runs[pairs]["transfer_set"]
        assert (made.run_dir / "report.html").is_file()
    assert "grid" not in runs["plain"]["transfer_set"] and "encoder" not in runs["plain"]["record"]["pools"]
    grid = runs["wide"]["transfer_set"]["grid"]
    assert (grid["encoder"], grid["pairs"]) == ("small", 320)
    assert sum(cell["share"] for cell in grid["cells"]) == pytest.approx(1.0, abs=1e-4)
    assert {*grid["cells"][0]["classes"]} == {*find_task(own_tasks["answers"]).labels}
    assert caplog.text.count("of the grid hold at least 2 %") == 1
    assert runs["wide"]["record"]["pools"]["encoder"]["fingerprint"] == encoder().fingerprint
    families = {group["family"] for group in runs["wide"]["transfer_set"]["groups"]}
    assert families >= {"synonym", "turn_synonym", "part_synonym", "nearest"}
