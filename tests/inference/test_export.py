"""`zskd export`: the written model answers as PyTorch does, whatever the length and the batch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import prose, save_model, tiny_bert, word_tokenizer
from faulty_lengths import SHORT, few_positions, tokenizer_with_a_low_limit
from transformers import (
    AutoTokenizer,
    ConvBertConfig,
    ConvBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from zskd.inference import export
from zskd.inference.export import (
    FLOAT,
    INT8,
    TOLERANCE,
    largest_difference,
    onnx_answers,
    parity_texts,
    table,
    write_onnx,
)
from zskd.inference.saved import load_saved
from zskd.tasks.task import TASKS

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run copied and exported with int8."""
    from zskd.cli import main

    run = tmp_path_factory.mktemp("export") / "run"
    shutil.copytree(finished_run, run, ignore=shutil.ignore_patterns("checkpoints"))
    assert main(["export", str(run), "--quantize", "int8", "--quiet"]) == 0
    return run / "export"


def test_folder_holds_all_that_a_runtime_needs(exported: Path) -> None:
    names = {str(path.relative_to(exported)) for path in exported.rglob("*")}
    # The layout that transformers.js and optimum look for.
    assert {"onnx/model.onnx", "onnx/model_quantized.onnx", "config.json", "tokenizer.json", "export.json"} <= names
    assert (exported / INT8).stat().st_size < (exported / FLOAT).stat().st_size
    length = AutoTokenizer.from_pretrained(exported).model_max_length
    saved = json.loads((exported / "tokenizer.json").read_text(encoding="utf-8"))
    results = json.loads((exported / "export.json").read_text(encoding="utf-8"))
    # transformers.js cuts by the tokenizer's configuration, other runtimes by its file; the run was trained at 32.
    assert length == saved["truncation"]["max_length"] == results["max_length"] == 128 and saved["padding"] is None
    assert results["cut"] == 0


def test_axes_are_free(exported: Path) -> None:
    graph = onnx.load(exported / FLOAT).graph
    for value in graph.input:
        assert all(axis.dim_param and not axis.dim_value for axis in value.type.tensor_type.shape.dim)
    assert [value.name for value in graph.output] == ["logits"]


def test_results_are_measured(exported: Path) -> None:
    found = json.loads((exported / "export.json").read_text(encoding="utf-8"))
    assert 0 <= found["largest_difference"] <= TOLERANCE and found["data"] == "sst2, probe"
    assert list(found["models"]) == ["PyTorch", "ONNX", "ONNX int8"]
    for entry in found["models"].values():
        assert min(entry["bytes"], entry["milliseconds"], entry["texts_per_second"]) > 0
        assert entry["scores"]["rows"] == 228
    plain, same, small = found["models"].values()
    assert plain["agreement"] == same["agreement"] == 1 and small["agreement"] > 0.9
    assert plain["scores"] == same["scores"]
    assert same["bytes"] == (exported / FLOAT).stat().st_size


def test_the_table_says_how_it_was_timed_and_how_far_times_spread(exported: Path) -> None:
    found = json.loads((exported / "export.json").read_text(encoding="utf-8"))
    for entry in found["models"].values():
        low, high = entry["milliseconds_quartiles"]
        assert low <= entry["milliseconds"] <= high
    int8 = found["models"]["ONNX int8"]
    int8 |= {"milliseconds": 2.81, "milliseconds_quartiles": [0.5, 3.456], "agreement": 0.99962}
    text = table(found)
    row = next(line for line in text.splitlines() if line.startswith("ONNX int8"))
    assert "2.81" in row and "0.50 to 3.46" in row and "99.96 %" in row
    assert "median of 30 texts" in text and "quartiles" in text and "in turns" in text
    assert "on 228 rows (sst2, probe)" in text and "cuda" not in text
    found["models"]["PyTorch"]["device"] = "cuda"
    assert "PyTorch on cuda" in table(found)


def test_logits_are_pytorchs_for_other_lengths_batches_and_padding(exported: Path, finished_run: Path) -> None:
    saved = load_saved(str(finished_run), flag="RUN")
    model = saved.classifier
    answers = onnx_answers(exported / FLOAT, model.tokenizer, saved.max_length)
    for texts in (["film"], ["", "a", "a fine film " * 40], prose(70)):
        expected = model.logits((texts,), max_length=saved.max_length)
        np.testing.assert_allclose(answers((texts,)), expected, atol=TOLERANCE)
    int8 = onnx_answers(exported / INT8, model.tokenizer, saved.max_length)
    assert np.abs(int8((prose(70),)) - expected).max() > 0  # it is another model


def opinionated(model: torch.nn.Module) -> torch.nn.Module:
    """A random model whose logits depend on its input: the usual small weights give nearly one answer to all."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(10)
    return model


def test_pairs(cli, tmp_path: Path) -> None:
    tokenizer = word_tokenizer(prose(60))
    folder = save_model(tmp_path / "pairs", opinionated(tiny_bert(len(tokenizer), TASKS["mrpc"].labels)), tokenizer)
    done = cli("export", folder, "--format", "onnx", "--task", "mrpc", "--json", "--quiet")
    assert done.code == 0
    assert json.loads(done.out)["largest_difference"] <= TOLERANCE
    saved = load_saved(str(folder), flag="RUN", task_name="mrpc")
    answers = onnx_answers(folder / "export" / FLOAT, tokenizer, saved.max_length)
    texts = (prose(9), prose(9, 1))
    expected = saved.classifier.logits(texts, max_length=saved.max_length)
    np.testing.assert_allclose(answers(texts), expected, atol=TOLERANCE)
    other_way = saved.classifier.logits(texts[::-1], max_length=saved.max_length)
    assert np.abs(answers(texts) - other_way).max() > 100 * TOLERANCE


def test_a_model_that_counts_positions_from_its_padding(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(prose(60))
    torch.manual_seed(0)
    model = RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=130,
            type_vocab_size=2,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()
    opinionated(model)
    saved = load_saved(str(save_model(tmp_path / "roberta", model, tokenizer)), flag="RUN", max_length=64)
    write_onnx(saved.classifier.model, tokenizer, tmp_path / "model.onnx")
    answers = onnx_answers(tmp_path / "model.onnx", tokenizer, 64)

    def expected(texts: Any) -> np.ndarray:
        return saved.classifier.logits(texts, max_length=64)

    batches = parity_texts(1, 64)
    assert largest_difference(expected, answers, batches) <= TOLERANCE
    assert np.ptp(expected(batches[-1]), axis=0).min() > 100 * TOLERANCE


def test_a_family_that_reads_padding_is_compared_without_any(cli, tmp_path: Path) -> None:
    tokenizer = word_tokenizer(prose(60))
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "embedding_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = ConvBertConfig(vocab_size=len(tokenizer), intermediate_size=32, initializer_range=0.3, **shape)
    save_model(tmp_path / "model", ConvBertForSequenceClassification(config).eval(), tokenizer)
    done = cli("export", str(tmp_path / "model"), "--format", "onnx", "--output-dir", str(tmp_path / "onnx"))
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "onnx" / "export.json").read_text())["largest_difference"] <= TOLERANCE


def test_parity_texts_have_several_lengths_and_sizes() -> None:
    for texts in (1, 2):
        batches = parity_texts(texts, 64)
        assert all(len(batch) == texts for batch in batches)
        assert len({len(batch[0]) for batch in batches}) >= 3
        lengths = {len(text.split()) for batch in batches for text in batch[0]}
        assert min(lengths) == 1 and max(lengths) > 64


def test_a_model_that_answers_otherwise_is_not_kept(cli, finished_run: Path, tmp_path: Path, monkeypatch) -> None:
    def wrong(model: Any, tokenizer: Any, path: Path) -> None:
        path.write_bytes(b"no model")

    monkeypatch.setattr(export, "write_onnx", wrong)
    monkeypatch.setattr(export, "onnx_answers", lambda *_: lambda texts: np.zeros((len(texts[0]), 2), np.float32))
    done = cli("export", finished_run, "--format", "onnx", "--output-dir", tmp_path / "onnx")
    assert done.code == 1 and "1e-04" in done.errors[0]
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named(cli, finished_run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxruntime" else object())
    done = cli("export", finished_run, "--format", "onnx", "--output-dir", tmp_path / "onnx")
    assert done.code == 2 and "onnxruntime" in done.errors[0] and "zskd[onnx]" in done.errors[0]


def test_wrong_input(cli, finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious", encoding="utf-8")
    tokenizer = word_tokenizer(prose(20))
    plain = save_model(tmp_path / "plain", tiny_bert(len(tokenizer), ("a", "b")), tokenizer)
    for arguments, word in (
        ((finished_run, "--format", "coreml"), "onnx"),
        ((finished_run, "--format", "onnx", "--output-dir", tmp_path / "mine"), "something else"),
        ((tmp_path / "no", "--format", "onnx", "--output-dir", tmp_path / "new"), "no such folder"),
        (("my_module:ask", "--format", "onnx"), "callable"),
        (("user/name", "--format", "onnx"), "--output-dir"),
        ((plain, "--format", "onnx", "--data", tmp_path / "dev.tsv"), "--task"),
    ):
        done = cli("export", *arguments)
        assert done.code == 2 and word in done.errors[0], (arguments, done.err)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("build", [few_positions, tokenizer_with_a_low_limit], ids=lambda build: build.__name__)
def test_an_export_of_a_model_that_reads_little_reads_as_little(cli, build, tmp_path: Path) -> None:
    build(tmp_path)
    done = cli("export", tmp_path, "--format", "onnx", "--task", "sst2", "--json")
    assert done.code == 0, done.err
    results = json.loads(done.out)
    saved = json.loads((tmp_path / "export" / "tokenizer.json").read_text(encoding="utf-8"))
    assert results["max_length"] == saved["truncation"]["max_length"] == SHORT
    assert results["cut"] == 228 and "228 of 228 rows were longer than 16 tokens and were cut" in done.err


def test_an_onnxscript_that_is_too_old_for_torch_is_named(cli, finished_run: Path, tmp_path: Path, monkeypatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'onnxscript._framework_apis.torch_2_11'")

    monkeypatch.setattr(torch.onnx, "export", fails)
    done = cli("export", finished_run, "--output-dir", tmp_path / "x")
    assert done.code == 2 and "onnxscript" in done.errors[0] and "pip install --upgrade onnxscript" in done.errors[0]
    assert not (tmp_path / "x").exists()
