"""Starts: made once, resumed bit for bit, alike in one and two processes, stock, and what a student begins with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import as_flags, prose, save_model, tiny_bert, word_tokenizer
from safetensors import safe_open
from transformers import (
    AutoModel,
    AutoTokenizer,
    BartConfig,
    BartForSequenceClassification,
    FunnelConfig,
    FunnelForSequenceClassification,
)

from zskd.config.distillation import DistillConfig
from zskd.config.pretraining import PretrainConfig
from zskd.errors import InputError, RunError
from zskd.models.loading import count_parameters, model_fingerprint
from zskd.pipeline import distill
from zskd.pretrain import make, pretrain
from zskd.pretrain.learner import EMPTY
from zskd.publish.origins import reproducing_command
from zskd.publish.run_card import run_card
from zskd.report.data import load_run
from zskd.report.facts import facts
from zskd.runs.start_record import RECORD, SENTENCES, read_start
from zskd.student.started import started_student
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, passages_file: Path) -> PretrainConfig:
    """A pretraining of about a second, from the body of the sentiment teacher, with its vocabulary."""
    folder = tmp_path_factory.mktemp("pretrained")
    return PretrainConfig(
        backbone=str(teacher_folder), compression=2.0, inputs="both", corpus=[str(passages_file)], heldout=48,
        max_length=48, steps=20, batch_size=32, checkpoints=4, precision="fp32", output_dir=str(folder / "start"),
        cache_dir=str(folder / "cache"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def start(options: PretrainConfig) -> make.Start:
    return pretrain(options)


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """End trainings in this process after a step, as a kill would."""

    def end(self: object, args: object, state: Any, control: object, **kwargs: object) -> None:
        if state.global_step == step:
            raise ZeroDivisionError

    monkeypatch.setattr("zskd.training.log.EvaluationLog.on_step_end", end)


def test_a_start_is_a_stock_body_within_its_budget(options: PretrainConfig, start: make.Start) -> None:
    model, info = AutoModel.from_pretrained(start.folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    with safe_open(start.folder / "model.safetensors", "pt") as held:
        assert set(held.keys()) == set(model.state_dict()), "what training alone needed is not saved"
    backbone = AutoModel.from_pretrained(options.backbone)
    assert count_parameters(model) == start.record["parameters"] <= count_parameters(backbone) / options.compression
    assert model_fingerprint(model) == start.record["fingerprint"]
    table = model.get_input_embeddings().weight
    assert not table[:, :EMPTY].any() and torch.all(table[5:, EMPTY:].std(dim=0) > 0)
    tokenizer = AutoTokenizer.from_pretrained(start.folder)
    assert model(**tokenizer("a fine film", "a dull one", return_tensors="pt")).last_hidden_state.isfinite().all()


def test_it_learns_and_says_what_it_was_made_of(options: PretrainConfig, start: make.Start) -> None:
    record = json.loads((start.folder / RECORD).read_text(encoding="utf-8"))
    assert record == start.record and record["inputs"] == "both"
    errors = list(record["heldout_error"].values())
    assert list(record["heldout_error"]) == ["5", "10", "15", "20"]
    assert errors[-1] < 0.97 * errors[0] < 1.1, "standardised states that are not known have an error of 1"
    made_of = record["made_of"]
    assert made_of["steps"] == 20 and made_of["precision"] == "fp32" and made_of["options"]["seed"] == 0
    assert made_of["backbone"]["name"] == Path(options.backbone).name, "no path of this machine"
    assert 20 * 32 * 5 < record["tokens"] < 20 * 32 * 48


def test_one_that_was_cut_short_goes_on_bit_for_bit(
    options: PretrainConfig, start: make.Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    config = replace(options, output_dir=str(tmp_path / "again"), cache_dir=str(tmp_path / "cache"))
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        stop_at(patched, 13)
        pretrain(config)
    assert not (tmp_path / "again").exists()
    with pytest.raises(InputError, match=r"unfinished, with a checkpoint of step 10; pass --resume to continue it"):
        pretrain(config)
    with caplog.at_level("INFO", "zskd"):
        done = pretrain(replace(config, resume=True))
    assert "training: going on from step 10" in caplog.text and "tokens/s" in caplog.text
    same = ("fingerprint", "made_of", "tokens", "heldout_error", "files")
    assert {name: done.record[name] for name in same} == {name: start.record[name] for name in same}
    assert [path.name for path in (tmp_path / "cache" / make.FOLDER).iterdir()] != [], "kept in the cache"
    assert not list((tmp_path / "cache" / make.FOLDER).glob("*.training"))


def test_it_is_made_once(
    options: PretrainConfig, start: make.Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    config = replace(options, output_dir=str(tmp_path / "copy"), cache_dir=str(tmp_path / "cache"))
    shutil.copytree(str(options.cache_dir), tmp_path / "cache")
    monkeypatch.setattr(make, "train", None)
    assert pretrain(config).record == start.record
    with pytest.raises(TypeError):  # other options, another start
        pretrain(replace(config, output_dir=str(tmp_path / "other"), learning_rate=1e-3, steps=20))
    (kept,) = (path for path in (tmp_path / "cache" / make.FOLDER).iterdir() if path.name.isalnum())
    (kept / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(TypeError), caplog.at_level("WARNING", "zskd"):
        pretrain(replace(config, output_dir=str(tmp_path / "third")))
    assert "expected model.safetensors as it was written, found another content" in caplog.text


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [("adamw", 2e-3), ("muon", 8e-3)],
)
def test_two_processes_make_the_same_start(
    options: PretrainConfig, tmp_path: Path, cli, optimizer: str, rate: float
) -> None:
    made = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        config = replace(
            options, optimizer=optimizer, learning_rate=rate, steps=6, checkpoints=1, num_processes=processes,
            output_dir=str(folder), cache_dir=str(tmp_path / f"cache-{processes}"),
        )  # fmt: skip
        done = cli("pretrain", *as_flags(config))
        assert done.code == 0, done.err
        assert f"start: {folder}" in done.out
        made[processes] = AutoModel.from_pretrained(folder).state_dict()
    for name, value in made[1].items():
        # A bias of keys changes no attention: its gradient is rounding alone, which AdamW makes as large as the others.
        most = rate if name.endswith("key.bias") else 1e-4
        torch.testing.assert_close(made[2][name], value, rtol=1e-3, atol=most, msg=name)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", SENTENCES])
def test_a_kept_start_with_any_damaged_file_is_made_anew(
    options: PretrainConfig, start: make.Start, tmp_path: Path, name: str
) -> None:
    config = replace(options, steps=2, output_dir=str(tmp_path / "first"), cache_dir=str(tmp_path / "cache"))
    first = pretrain(config)
    (kept,) = (tmp_path / "cache" / make.FOLDER).iterdir()
    (kept / name).write_bytes(b"abc")
    assert pretrain(replace(config, output_dir=str(tmp_path / "second"))).record["files"] == first.record["files"]
    (first.folder / name).unlink()
    with pytest.raises(InputError, match=f"expected {name} as it was written, found no such file; make it anew"):
        read_start(first.folder)


def test_held_out_rows_are_part_of_what_a_start_is(options: PretrainConfig, tmp_path: Path) -> None:
    found = [
        pretrain(replace(options, steps=1, heldout=rows, output_dir=str(tmp_path / str(rows)))).record["made_of"]
        for rows in (400, 480)  # more than this text holds out
    ]
    assert found[0]["text"]["heldout"] != found[1]["text"]["heldout"]


def test_options_are_checked_in_python_too_and_no_folder_is_replaced(options: PretrainConfig, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError) as found:
        pretrain(replace(options, output_dir=str(tmp_path), inputs="three", checkpoints=0, optimizer="sgd", heldout=0))
    text = "\n".join(found.value.problems)
    for flag in ("--output-dir", "--inputs", "--checkpoints", "--optimizer", "--heldout"):
        assert flag in text
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("kind", ["encoder with a decoder", "pooled"])
def test_a_backbone_without_a_state_for_each_token_is_refused(
    cli, options: PretrainConfig, tmp_path: Path, kind: str
) -> None:
    words = word_tokenizer(prose(100))
    common = {"vocab_size": len(words), "pad_token_id": words.pad_token_id, "d_model": 16}
    if kind == "pooled":
        model = FunnelForSequenceClassification(
            FunnelConfig(block_sizes=[1, 1], n_head=2, d_head=8, d_inner=16, **common)
        )
    else:
        sizes = {f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "attention_heads")}
        width = {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "bos_token_id": 2, "eos_token_id": 3}
        model = BartForSequenceClassification(BartConfig(**sizes, **width, **common))
    folder = save_model(tmp_path / "model", model, words)
    done = cli("pretrain", *as_flags(replace(options, backbone=str(folder), output_dir=str(tmp_path / "start"))))
    assert done.code == 2, done.err
    assert "expected a model with one state for each token, found" in done.err


def test_a_training_that_diverges_leaves_nothing(options: PretrainConfig, tmp_path: Path) -> None:
    config = replace(options, learning_rate=1e30, output_dir=str(tmp_path / "start"), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(RunError, match=r"lower --learning-rate 1e\+30; no start was made"):
        pretrain(config)
    assert not (tmp_path / "start").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"compression": 1_000.0}, "--compression 1000: a budget of"),
        ({"parameters": 1_500}, "--parameters 1500: a budget of"),
        ({"backbone": "./nowhere"}, "--backbone nowhere: expected a model folder, found none"),
        ({"backbone_revision": "main"}, "--backbone-revision main: expected a Hub id as --backbone"),
        ({"corpus": ["nowhere.txt"]}, "--corpus nowhere.txt: expected a file, a folder"),
        ({"batch_size": 33, "num_processes": 2}, "--batch-size 33: expected a multiple of the 2 processes"),
        ({"inputs": "three"}, "--inputs: expected one of one, two, both, found 'three'"),
        ({"steps": 0}, "--steps: expected at least 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_input_is_named(
    cli, options: PretrainConfig, change: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    config = replace(options, output_dir=str(tmp_path / "start"), **change)
    done = cli("pretrain", *as_flags(config))
    assert done.code == 2 and len(done.errors) == 1, done.err
    assert expected in done.errors[0]
    assert not (tmp_path / "start").exists()


def test_a_full_output_folder_is_left_alone(cli, options: PretrainConfig, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    done = cli("pretrain", *as_flags(replace(options, output_dir=str(tmp_path))))
    assert done.code == 2 and "expected a new or empty folder, found files in it" in done.err


def test_a_student_begins_with_the_start_and_the_response_to_tokens(
    options: PretrainConfig, start: make.Start, teacher: Classifier, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    student, tokenizer, asked, begun = started_student(
        TASKS["sst2"], teacher, str(start.folder), options.compression - 0.1, "fp32", tmp_path
    )
    body = AutoModel.from_pretrained(start.folder)
    for name, value in body.state_dict().items():
        if "word_embeddings" not in name:
            assert torch.equal(student.base_model.state_dict()[name], value), name
    table, before = student.get_input_embeddings().weight, body.get_input_embeddings().weight
    assert torch.equal(table[:, 1:], before[:, 1:]), "two classes have one dimension of response"
    torch.testing.assert_close(table[:, 0].std(), before[:, EMPTY:].std(dim=0).mean(), rtol=1e-3, atol=0)
    assert asked == len(tokenizer) and begun.record == start.record and begun.name == "start"
    assert student.config.id2label == {0: "negative", 1: "positive"}


def test_a_run_with_a_start(
    tiny_config: DistillConfig, options: PretrainConfig, start: make.Start, tmp_path: Path
) -> None:
    folder = shutil.copytree(start.folder, tmp_path / "start")
    config = replace(tiny_config, start_from=str(folder), compression=1.9)
    result = distill(config)
    record = json.loads((result.run_dir / "record.json").read_text(encoding="utf-8"))
    assert record["student"]["start"]["made_of"] == start.record["made_of"]
    assert type(result.student).__name__ == "ElectraForSequenceClassification"
    assert result.metrics["student"]["parameters"] <= result.metrics["teacher"]["parameters"] / 1.9
    run = load_run(result.run_dir)
    assert dict(facts(run))["student"].endswith(f"from the start start, distilled from {Path(options.backbone).name}")
    card = str(run_card(run, "me/small"))
    assert "learned the token states of `teacher0`" in card and "in 20 steps" in card
    assert f"--start-from {folder.name}" in reproducing_command(run) and str(tmp_path) not in card
    # A run that goes on has to find what it began with.
    (result.run_dir / "metrics.json").unlink()
    shutil.rmtree(folder)
    shutil.copytree(pretrain(replace(options, steps=2, output_dir=str(tmp_path / "other"))).folder, folder)
    with pytest.raises(InputError, match=r"--start-from .*: expected the start that the training in .* began with"):
        distill(replace(config, resume=True))


def test_starts_that_do_not_fit_are_refused(
    cli, config_for: Callable[..., DistillConfig], options: PretrainConfig, start: make.Start, tmp_path: Path
) -> None:
    def refused(expected: str, task: str = "sst2", **changes: Any) -> None:
        done = cli("distill", *as_flags(config_for(task, **{"compression": 1.9, **changes})))
        assert done.code == 2 and len(done.errors) == 1, done.err
        assert expected in done.errors[0]

    refused("expected the folder of a start, which `zskd pretrain` makes, found no such folder", start_from="nowhere")
    refused(f"found no {RECORD} in it", start_from=options.backbone)
    refused(
        "expected --student build with it, found --student default", start_from=str(start.folder), student="default"
    )
    refused("expected a student of at most", start_from=str(start.folder), compression=30.0)
    one = pretrain(replace(options, inputs="one", steps=2, output_dir=str(tmp_path / "one")))
    refused(
        "expected a start for two texts, as mrpc has, found one for single texts", "mrpc", start_from=str(one.folder)
    )
    words = word_tokenizer(prose(100))
    backbone = save_model(tmp_path / "other", tiny_bert(len(words), ("a", "b")), words)
    other = pretrain(
        replace(options, backbone=str(backbone), steps=2, compression=1.6, output_dir=str(tmp_path / "words"))
    )
    refused("expected a start of the teacher's vocabulary", start_from=str(other.folder))
    damaged = shutil.copytree(start.folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"")
    refused("expected model.safetensors as it was written, found another content", start_from=str(damaged))
    (damaged / RECORD).write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="expected the record of a start"):
        distill(config_for("sst2", start_from=str(damaged)))


def test_a_start_made_with_adamw_goes_on_bit_for_bit_and_is_another(
    options: PretrainConfig, start: make.Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    assert start.record["made_of"]["options"]["optimizer"] == "muon"
    config = replace(options, optimizer="adamw", steps=6, checkpoints=3, output_dir=str(tmp_path / "whole"))
    with caplog.at_level("INFO", "zskd"):
        whole = pretrain(config)
    assert "Muon" not in caplog.text
    assert whole.record["made_of"]["options"]["optimizer"] == "adamw"
    again = replace(config, output_dir=str(tmp_path / "again"), cache_dir=str(tmp_path / "cache"))
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        stop_at(patched, 3)
        pretrain(again)
    assert pretrain(replace(again, resume=True)).record["fingerprint"] == whole.record["fingerprint"]
