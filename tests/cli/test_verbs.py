"""What the small verbs print: `evaluate`, `validate` and `ls`."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from conftest import as_flags, prose, tiny_bert, word_tokenizer
from labelled_rows import rows_for, write_rows
from safetensors.torch import load_file, save_file

from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import METHODS
from zskd.config.resolve import packaged_configs, resolve
from zskd.models.backbones import BACKBONES
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.task import TASKS

OF_TASK = "default for qqp and these options"
SCORES = ["task", "rows", "accuracy", "f1", "majority", "above_chance", "max_length", "cut"]


@pytest.fixture
def mrpc(tmp_path: Path) -> tuple[Path, Path]:
    """A random classifier for MRPC, and a file in MRPC's columns."""
    tokenizer, folder, data = word_tokenizer(prose(20)), tmp_path / "model", tmp_path / "dev.tsv"
    tiny_bert(len(tokenizer), TASKS["mrpc"].labels).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rows = [
        f"{i % 3 // 2}\t{i}\t{i}\t{first}\t{second}"
        for i, (first, second) in enumerate(zip(prose(9), prose(9, 1), strict=True))
    ]
    data.write_text("\n".join(["\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String", *rows]), encoding="utf-8")
    return folder, data


def test_evaluate_prints_the_same_keys_for_every_task(cli, teacher_folder: Path, glue_dir: Path) -> None:
    data = glue_dir / "SST-2" / "dev.tsv"
    done = cli("evaluate", "--model", teacher_folder, "--task", "sst2", "--data", data, "--json")
    scores = json.loads(done.out)
    assert done.code == 0
    assert list(scores) == SCORES
    assert scores["f1"] is None, "GLUE reports none for SST-2"
    assert (scores["task"], scores["rows"], scores["majority"]) == ("sst2", 16, 0.5)
    assert scores["above_chance"] == pytest.approx(2 * scores["accuracy"] - 1)


def test_evaluate_gives_f1_where_glue_has_it(cli, mrpc: tuple[Path, Path]) -> None:
    folder, data = mrpc
    scores = json.loads(cli("evaluate", "--model", folder, "--task", "mrpc", "--data", data, "--json").out)
    assert list(scores) == SCORES
    assert 0 <= scores["f1"] <= 1
    assert (scores["rows"], scores["majority"]) == (9, 6 / 9)


def test_evaluate_takes_a_run_folder_and_its_task(cli, finished_run: Path, glue_dir: Path, tmp_path: Path) -> None:
    data = glue_dir / "SST-2" / "dev.tsv"
    student = cli("evaluate", "--model", finished_run / "student", "--task", "sst2", "--data", data, "--json")
    done = cli("evaluate", "--model", finished_run, "--data", data, "--json")
    assert done.code == 0 and json.loads(done.out) == json.loads(student.out)
    other = cli("evaluate", "--model", finished_run, "--task", "mrpc", "--data", "probe")
    assert other.code == 2 and f"--model {finished_run / 'student'}" in other.errors[0]
    shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("student"))
    done = cli("evaluate", "--model", tmp_path / "run", "--data", data)
    assert done.code == 2 and "--model" in done.errors[0] and "--resume" in done.errors[0], done.err


def test_evaluate_prints_a_table_for_people(cli, teacher_folder: Path) -> None:
    done = cli("evaluate", "--model", teacher_folder, "--task", "sst2", "--data", "probe")
    assert [line.split()[0] for line in done.out.splitlines()] == [name for name in SCORES if name != "f1"]


def test_evaluate_takes_other_label_names(cli, teacher_folder: Path) -> None:
    arguments = ("evaluate", "--model", teacher_folder, "--task", "sst2", "--data", "probe", "--json")
    plain = json.loads(cli(*arguments).out)
    swapped = json.loads(cli(*arguments, "--label-map", "negative=positive,positive=negative").out)
    assert swapped["accuracy"] == pytest.approx(1 - plain["accuracy"])


def test_evaluate_names_the_line_of_a_broken_row(cli, teacher_folder: Path, glue_dir: Path) -> None:
    data = glue_dir / "SST-2" / "dev.tsv"
    data.write_text("sentence\tlabel\nfine\t1\nno label\n", encoding="utf-8")
    done = cli("evaluate", "--model", teacher_folder, "--task", "sst2", "--data", data)
    assert done.code == 2
    assert f"{data}, line 3" in done.errors[0]


def with_bad_rows(data: Path) -> Path:
    """The file with three rows added that cannot be read, the first in its second line."""
    header, *rows = data.read_text(encoding="utf-8").splitlines()
    bad = ["too short", "7\tmany\twords\tin\tit", "\t".join(["?"] * len(header.split("\t")))]
    data.write_text("\n".join([header, bad[0], *rows, *bad[1:]]) + "\n", encoding="utf-8")
    return data


def test_config_says_where_each_value_comes_from(cli, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("teacher: embedded\nstudent: build\ncorpus: [embedded]\nepochs: 3\nseed: 4\n", encoding="utf-8")
    given = ("--task", "qqp", "--config", path, "--seed", "7", "--no-hub-eval")
    done = cli("config", *given, "--json")
    found = json.loads(done.out)
    assert done.code == 0 and set(found) == {item.name for item in fields(DistillConfig)}
    expected = {
        "task": ("qqp", "--task"), "seed": (7, "--seed"), "epochs": (3.0, f"--config {path}"),
        "hub_eval": (False, "--hub-eval"), "batch_size": (64, "default"), "glue_dir": (None, "default"),
        **{name: (value, OF_TASK) for name, value in (("pool_size", 90_000), ("objective", "kd"))},
    }  # fmt: skip
    assert {name: (found[name]["value"], found[name]["from"]) for name in expected} == expected
    # For people: a configuration, with the origins as comments.
    shown = cli("config", *given).out
    assert yaml.safe_load(shown) == {name: entry["value"] for name, entry in found.items()}
    (line,) = [line for line in shown.splitlines() if line.startswith("epochs:")]
    assert line.split("  #") == [line.split("  #")[0], f" --config {path}"]
    (tmp_path / "again.yaml").write_text(shown, encoding="utf-8")
    again = json.loads(cli("config", "--config", tmp_path / "again.yaml", "--json").out)
    assert {name: entry["value"] for name, entry in again.items()} == yaml.safe_load(shown)
    assert cli("config", "--task", "qqp", "--pool-size", "1").code == 2


@pytest.mark.parametrize("verb", ["evaluate", "diagnose", "export"])
def test_bad_rows_are_left_out_and_counted_if_asked_for(
    verb: str, cli, finished_run: Path, glue_dir: Path, tmp_path: Path
) -> None:
    data = with_bad_rows(glue_dir / "SST-2" / "dev.tsv")
    student = finished_run / "student"
    arguments: dict[str, list[object]] = {
        "evaluate": ["evaluate", "--model", student, "--task", "sst2", "--json"],
        "diagnose": ["diagnose", student, "--task", "sst2", "--texts", 64, "--json"],
        "export": ["export", student, "--task", "sst2", "--format", "onnx", "--output-dir", tmp_path / "x", "--json"],
    }
    refused = cli(*arguments[verb], "--data", data)
    assert refused.code == 2
    assert f"{data}, line 2: expected 2 columns, found 1" in refused.errors[0]
    assert "--skip-bad-rows" in refused.errors[0]
    done = cli(*arguments[verb], "--data", data, "--skip-bad-rows")
    assert done.code == 0, done.err
    assert json.loads(done.out)["skipped_rows"] == 3
    assert f"{data}: 3 bad row(s) left out" in done.err


def test_distill_leaves_out_bad_rows_of_gold_labels_and_of_the_evaluation(
    cli, tiny_config: DistillConfig, glue_dir: Path, tmp_path: Path
) -> None:
    data = with_bad_rows(glue_dir / "SST-2" / "dev.tsv")
    gold = data.rename(tmp_path / "gold.tsv")
    data.write_text(gold.read_text(encoding="utf-8"), encoding="utf-8")
    config = replace(tiny_config, epochs=0.1, gold_labels=str(gold), glue_dir=str(glue_dir))
    refused = cli("distill", *as_flags(config))
    assert refused.code == 2
    assert f"{gold}, line 2:" in refused.errors[0] and "--skip-bad-rows" in refused.errors[0]
    done = cli("distill", *as_flags(replace(config, skip_bad_rows=True)))
    assert done.code == 0, done.err
    folder = Path(str(config.output_dir))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for who in ("teacher", "student"):
        assert metrics[who]["scores"]["glue"]["skipped_rows"] == 3
        assert metrics[who]["scores"]["glue"]["rows"] == 16
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert record["gold_labels"]["skipped_rows"] == 3 and record["gold_labels"]["rows"] == 16


def test_a_run_whose_evaluation_file_has_bad_rows_is_scored_by_resuming(
    cli, tiny_config: DistillConfig, glue_dir: Path
) -> None:
    data = with_bad_rows(glue_dir / "SST-2" / "dev.tsv")
    config = replace(tiny_config, epochs=0.1, glue_dir=str(glue_dir))
    refused = cli("distill", *as_flags(config))
    assert refused.code == 2 and f"{data}, line 2:" in refused.errors[0]
    done = cli("distill", *as_flags(replace(config, skip_bad_rows=True, resume=True)))
    assert done.code == 0, done.err
    metrics = json.loads((Path(str(config.output_dir)) / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["student"]["scores"]["glue"]["skipped_rows"] == 3


def test_validate_prints_what_resolves_to_the_same_options(cli, tiny_config: DistillConfig, tmp_path: Path) -> None:
    done = cli("validate", *as_flags(tiny_config))
    assert done.code == 0
    path = tmp_path / "again.yaml"
    path.write_text(done.out, encoding="utf-8")
    assert resolve(DistillConfig, str(path), {}) == (with_task_defaults(tiny_config), [])
    assert cli("validate", "--config", path).out == done.out
    assert not Path(str(tiny_config.output_dir)).exists()


def test_validate_names_every_problem(cli, tmp_path: Path) -> None:
    done = cli(
        "validate",
        "--task",
        "sst2",
        "--corpus",
        tmp_path / "no.txt",
        "--teacher",
        tmp_path / "no",
        "--epochs",
        "0",
    )
    assert done.code == 2
    assert {line.split()[2].rstrip(":") for line in done.errors} == {"--epochs", "--teacher", "--corpus"}
    assert done.out == ""


def test_ls_lists_tasks_methods_configurations_backbones_and_the_cache(cli, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert cli("ls", "--cache-dir", cache).out.endswith("empty\n")
    (cache / "labels").mkdir(parents=True)
    (cache / "labels" / "shard.arrow").write_bytes(b"\0" * 2_500_000)
    lines = [line.split() for line in cli("ls", "--cache-dir", cache).out.splitlines()]
    for name in (*TASKS, *METHODS, *packaged_configs(), *BACKBONES):
        assert any(words[0] == name for words in lines), name
    for spec in METHODS.values():
        assert [spec.name, *spec.summary.split()] in lines
    assert lines[-1] == ["labels", "2.5", "MB"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_of_no_numbers_is_refused_by_evaluate_and_predict(
    cli, teacher_folder: Path, value: float, tmp_path: Path
) -> None:
    """It had an accuracy of a half, and probabilities that are not JSON."""
    folder = shutil.copytree(teacher_folder, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] = weights["classifier.bias"] + value
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "lines.txt").write_text("a fine film\n", encoding="utf-8")
    for arguments in (
        ("evaluate", "--model", folder, "--task", "sst2", "--data", "probe", "--json"),
        ("predict", "--model", folder, "--input", tmp_path / "lines.txt", "--json"),
        ("diagnose", folder, "--task", "sst2", "--texts", 64),
    ):
        done = cli(*arguments)
        assert done.code == 2 and done.out == ""
        assert "found NaN or infinity for" in done.errors[0] and str(folder) in done.errors[0]


def test_json_is_one_object_of_what_is_printed_for_people(
    cli, finished_run: Path, tiny_config: DistillConfig, tmp_path: Path
) -> None:
    listed = json.loads(cli("ls", "--json", "--quiet").out)
    assert set(listed["tasks"]) == set(TASKS) and set(listed["backbones"]) == set(BACKBONES)
    assert listed["tasks"]["sst2"]["teachers"] and set(listed["configurations"]) == set(packaged_configs())
    options = json.loads(cli("validate", "--json", "--quiet", *as_flags(tiny_config)).out)
    assert options == yaml.safe_load(cli("validate", *as_flags(tiny_config)).out)
    report = json.loads(cli("report", finished_run, "--output", tmp_path / "r.html", "--json").out)
    assert report == {"report": str(tmp_path / "r.html")} and (tmp_path / "r.html").is_file()
    given = ("publish", finished_run, "--repo-id", "me/mine", "--dry-run")
    planned = json.loads(cli(*given, "--json").out)
    assert (planned["repo_id"], planned["public"], planned["commit_url"]) == ("me/mine", False, None)
    table = cli(*given).out
    assert all(name in table and f"{size:,}" in table for name, size in planned["files"].items())


def test_finetune_prints_its_record_as_json(cli, teacher_folder: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "train.tsv", TASKS["sst2"], rows_for(TASKS["sst2"], 90, seed=1))
    given = ("--task", "sst2", "--base", teacher_folder, "--glue-dir", tmp_path, "--epochs", "1", "--rank", "2")
    done = cli(
        "finetune",
        *given,
        "--selection-rows",
        "16",
        "--checkpoints",
        "1",
        "--json",
        "--quiet",
        "--output-dir",
        tmp_path / "t",
    )
    found = json.loads(done.out)
    assert done.code == 0 and found["folder"] == str(tmp_path / "t")
    record = json.loads((tmp_path / "t" / "training.json").read_text(encoding="utf-8"))
    assert {name: value for name, value in found.items() if name != "folder"} == record


def test_last_layers_of_a_whole_model_are_refused(cli, teacher_folder: Path, glue_dir: Path, tmp_path: Path) -> None:
    given = ("--task", "sst2", "--base", teacher_folder, "--glue-dir", glue_dir, "--output-dir", tmp_path / "t")
    done = cli("finetune", *given, "--full", "--last-layers", "1")
    assert done.code == 2 and any("--last-layers 1" in error and "--full" in error for error in done.errors), done.err
