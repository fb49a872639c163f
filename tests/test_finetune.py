"""`zskd finetune`: a teacher from labelled rows, chosen on training rows, scored on dev at the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import as_flags, tiny_bert, word_tokenizer
from transformers import BertModel

from zskd.config import FinetuneConfig
from zskd.distill import distill
from zskd.files import sha256_file
from zskd.finetune import finetune, split_rows
from zskd.models.classifier import load_classifier
from zskd.models.loading import count_parameters
from zskd.tasks import TASKS, read_labelled

SST2 = TASKS["sst2"]
PROBE = read_labelled(SST2, str(SST2.probe_path())).texts[0]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT body without a head, and its tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = word_tokenizer(PROBE)
    body: BertModel = tiny_bert(len(tokenizer), SST2.labels).bert
    body.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def config(base: Path, glue_dir: Path, tmp_path: Path) -> FinetuneConfig:
    """A training that takes about a second."""
    return FinetuneConfig(
        task="sst2", base=str(base), rank=4, glue_dir=str(glue_dir), selection_rows=16, max_length=16,
        epochs=8.0, batch_size=16, learning_rate=0.01, checkpoints=2, precision="fp32",
        output_dir=str(tmp_path / "teacher"), cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip


def test_adapter_is_a_teacher_with_a_record(config: FinetuneConfig, base: Path, tmp_path: Path) -> None:
    done = finetune(config)
    teacher = load_classifier(SST2, str(done.folder), tmp_path)
    assert teacher.order == (0, 1)
    assert teacher.model.config.id2label == {0: "negative", 1: "positive"}
    assert json.loads((done.folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(base)
    assert json.loads((done.folder / "training.json").read_text()) == done.record
    assert done.record["selection_rows"] == 16
    assert done.record["training_rows"] <= 120 - 16
    accuracies = done.record["selection_accuracy"]
    assert accuracies[done.record["chosen"]] == max(accuracies.values()) == 1.0, "the rows are easy"
    assert done.record["scores"]["glue"]["accuracy"] == 1.0
    assert set(done.record["scores"]) == {"probe", "glue"}
    assert done.record["scores"]["glue"]["rows"] == 16


def test_selection_rows_are_never_trained_on(config: FinetuneConfig) -> None:
    rows = read_labelled(SST2, SST2.train_file(str(config.glue_dir)))
    train, selection = split_rows(rows, 16, None, seed=0)
    assert not set(train.texts[0]) & set(selection.texts[0])
    assert set(train.texts[0]) | set(selection.texts[0]) <= set(rows.texts[0])
    known = dict(zip(rows.texts[0], rows.labels, strict=True))
    for part in (train, selection):
        assert [known[text] for text in part.texts[0]] == part.labels
    assert split_rows(rows, 16, 40, seed=0)[0].labels == train.labels[:40]
    assert split_rows(rows, 16, None, seed=1)[1].texts != selection.texts


def test_dev_file_is_opened_only_after_training(config: FinetuneConfig, glue_dir: Path, tmp_path: Path, watch) -> None:
    trail = watch(tmp_path)
    finetune(config)
    files = [path for path, _ in trail.opened]
    dev = glue_dir / "SST-2" / "dev.tsv"
    saved = next(i for i, path in enumerate(files) if path.name == "adapter_config.json")
    assert files.index(glue_dir / "SST-2" / "train.tsv") < saved < files.index(dev)


def test_dev_file_does_not_change_the_teacher(config: FinetuneConfig, glue_dir: Path, tmp_path: Path) -> None:
    first = finetune(config)
    dev = glue_dir / "SST-2" / "dev.tsv"
    dev.write_text("sentence\tlabel\nsomething else\t0\n", encoding="utf-8")
    second = finetune(replace(config, output_dir=str(tmp_path / "again")))
    assert first.record["scores"]["glue"] != second.record["scores"]["glue"]
    weights = [sha256_file(done.folder / "adapter_model.safetensors") for done in (first, second)]
    assert weights[0] == weights[1], "and the same seed twice gives the same adapter"
    other = finetune(replace(config, seed=1, output_dir=str(tmp_path / "other")))
    assert sha256_file(other.folder / "adapter_model.safetensors") != weights[0]


def test_full_weights(config: FinetuneConfig, base: Path, tmp_path: Path) -> None:
    done = finetune(replace(config, full=True, learning_rate=1e-3, epochs=4.0))
    teacher = load_classifier(SST2, str(done.folder), tmp_path)
    assert not (done.folder / "adapter_config.json").exists()
    assert teacher.model.config.id2label == {0: "negative", 1: "positive"}
    before = BertModel.from_pretrained(base).embeddings.word_embeddings.weight
    assert not torch.equal(teacher.model.bert.embeddings.word_embeddings.weight, before)


def test_nothing_else_is_left_behind(config: FinetuneConfig, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    finetune(config)
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "teacher", tmp_path / "cache"}


def test_verb_prints_the_scores(cli, config: FinetuneConfig) -> None:
    done = cli("finetune", *as_flags(config))
    assert done.code == 0
    assert "glue (16 rows): accuracy 1.0000" in done.out
    assert f"teacher: {config.output_dir}" in done.out


def test_adapter_distils_and_is_counted_merged(config, base: Path, tiny_config, monkeypatch) -> None:
    folder = finetune(config).folder
    merged = count_parameters(load_classifier(SST2, str(folder), folder).model)
    assert merged == count_parameters(tiny_bert(len(word_tokenizer(PROBE)), SST2.labels))
    monkeypatch.setitem(TASKS, "unprobed", replace(SST2, name="unprobed"))  # four phrases make no teacher
    metrics = distill(replace(tiny_config, task="unprobed", teacher=str(folder), epochs=0.1))
    assert metrics["teacher"]["parameters"] == merged
    assert metrics["student"]["parameters"] * tiny_config.compression <= merged


def test_broken_training_row_is_named(cli, config: FinetuneConfig, glue_dir: Path) -> None:
    train = glue_dir / "SST-2" / "train.tsv"
    train.write_text("sentence\tlabel\nfine\t1\nfine\tgood\n", encoding="utf-8")
    done = cli("finetune", *as_flags(config))
    assert done.code == 2
    assert f"{train}, line 3" in done.errors[0]
    assert not Path(str(config.output_dir)).exists()
