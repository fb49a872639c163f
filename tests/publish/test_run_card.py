"""The card of a real run: parsed back, and every number in it beside the run's own files."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from zskd.cli import parser
from zskd.config.distillation import DistillConfig
from zskd.config.methods.adversarial import AdversarialOptions
from zskd.config.resolve import DEFAULT_CONFIG, resolve
from zskd.hub.cards import code
from zskd.publish import Options, plan
from zskd.publish.metadata import evaluation_entries
from zskd.publish.origins import reproducing_command
from zskd.publish.run_card import run_card
from zskd.runs.read import FinishedRun, read_run
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.task import TASKS


@pytest.fixture
def run(published_run: Path) -> FinishedRun:
    return read_run(published_run)


ADVERSARY = {item.name for item in dataclasses.fields(AdversarialOptions)}


def changed(run: FinishedRun, **parts: dict[str, Any]) -> FinishedRun:
    """The run with some values of its files replaced."""
    return dataclasses.replace(run, **{name: {**getattr(run, name), **values} for name, values in parts.items()})


def table(card: ModelCard, title: str) -> dict[str, list[str]]:
    """Rows of the first table below a heading: first cell -> the others."""
    section = card.text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if re.match(r"\|[^-]", line)]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows[1:]}


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def test_metadata_parses_back_with_the_runs_numbers(run: FinishedRun) -> None:
    card = ModelCard(str(run_card(run, "me/small")))
    data = card.data.to_dict()
    name, results = model_index_to_eval_results(data["model-index"])
    assert name == "small"
    found = {(result.dataset_type, result.metric_type): result.metric_value for result in results}
    scores = run.metrics["student"]["scores"]
    assert found == {
        ("zskd-probe", "accuracy"): scores["probe"]["accuracy"],
        ("glue", "accuracy"): scores["glue"]["accuracy"],
        ("held-out-text", "agreement"): run.metrics["agreement"],
    }
    assert data["pipeline_tag"] == "text-classification" and data["library_name"] == "transformers"
    assert {"zero-shot-distillation", "sst2"} <= set(data["tags"])
    assert not {"base_model", "datasets", "license"} & set(data)


def test_results_table_has_the_runs_numbers(run: FinishedRun) -> None:
    metrics, analysis = run.metrics, run.analysis
    rows = table(run_card(run, "me/small"), "Results")
    teacher, student = (metrics[who]["scores"] for who in ("teacher", "student"))
    expected: dict[str, list[str]] = {}
    for key, name in (("probe", "probe of sst2"), ("glue", "GLUE sst2, dev.tsv")):
        majority = percent(student[key]["majority"])
        expected[f"accuracy in percent, {name} ({student[key]['rows']} rows; majority class: {majority})"] = [
            percent(teacher[key]["accuracy"]),
            percent(student[key]["accuracy"]),
            percent(metrics["retention"][key]),
            percent(metrics["retention_above_chance"][key]),
        ]
    larger = percent(metrics["agreement_majority"])
    expected[f"agreement with the teacher in percent, held-out text (teacher's majority class: {larger})"] = [
        "",
        percent(metrics["agreement"]),
        "",
        percent(metrics["agreement_above_chance"]),
    ]
    sizes = [f"{metrics[who]['parameters']:,}" for who in ("teacher", "student")]
    expected["parameters"] = [*sizes, f"1/{metrics['compression']:.1f}", ""]
    assert analysis is not None
    speed = analysis["latency"]
    where = f"{speed['student']['device']}, {speed['student']['threads']} thread(s)"
    expected[f"milliseconds for one input ({where}, float32, tokenization included)"] = [
        *(f"{speed[who]['milliseconds']:.2f}" for who in ("teacher", "student")), "", ""
    ]  # fmt: skip
    expected["inputs per second, in batches of 32"] = [
        *(f"{speed[who]['texts_per_second']:,.0f}" for who in ("teacher", "student")), "", ""
    ]  # fmt: skip
    assert rows == expected


def test_limits_have_the_confusions_numbers(run: FinishedRun) -> None:
    assert run.analysis is not None
    card = run_card(run, "me/small")
    rows = table(card, "Limits")
    heldout, glue = run.analysis["heldout"]["confusion"], run.analysis["evaluation"]["glue"]
    recalls = {}
    for i, label in enumerate(("negative", "positive")):
        recalls[label] = heldout[i][i] / sum(heldout[i])
        found = [glue[who]["confusion"][i][i] / sum(glue[who]["confusion"][i]) for who in ("teacher", "student")]
        counts = str(sum(heldout[i])), str(sum(glue["student"]["confusion"][i]))
        assert rows[label] == [counts[0], percent(recalls[label]), counts[1], *map(percent, found)]
    assert f"weakest class is `{min(recalls, key=recalls.__getitem__)}`" in card.text
    assert percent(run.analysis["heldout"]["reliability"]["ece"]) + " points" in card.text


def test_labelled_data_is_stated(run: FinishedRun) -> None:
    section = run_card(run, "me/small").text.partition("## Which labelled data")[2]
    assert run.metrics["zero_shot"]["read_before_training"] == ["probe (teacher gate)"]
    assert "Before training: probe (teacher gate)." in section and "GLUE sst2, dev.tsv" in section
    assert "After training: probe of sst2 (228 rows; the student's score)." in section
    assert "After training: GLUE sst2, dev.tsv (27 rows; the scores of teacher and student)." in section
    assert "no other effect" not in section and "After training: none" not in section
    told = {"enforced": False, "read_before_training": [], "read_after_training": []}
    card = run_card(changed(run, metrics={"zero_shot": told}), "me/small")
    assert "Before training: none" in card.text and "not a zero-shot student" in card.text
    assert "zero-shot-distillation" not in card.data.tags


def test_command_gives_the_same_options(run: FinishedRun, published_run: Path) -> None:
    command = run_card(run, "me/small").text.partition("To reproduce this run")[2].split("```")[1].strip()
    arguments = parser().parse_args(shlex.split(command)[1:])
    flags = {
        item.name: getattr(arguments, item.name) for item in dataclasses.fields(DistillConfig) if item.name in arguments
    }
    config, problems = resolve(DistillConfig, getattr(arguments, "config", None) or DEFAULT_CONFIG, flags)
    assert problems == []
    config = with_task_defaults(config)
    for name, value in run.config.items():
        if name in ("teacher", "glue_dir"):
            assert getattr(config, name) == Path(value).name
        elif name == "corpus":
            assert config.corpus == [Path(path).name for path in value]
        elif name not in ("output_dir", "cache_dir", *ADVERSARY):  # no generator took part
            assert getattr(config, name) == value, name
    assert str(published_run.parent) not in command and "/" not in command


def test_hub_origins_are_named(run: FinishedRun) -> None:
    commit = "a" * 40
    sources = {"Salesforce/wikitext:wikitext-103-raw-v1": commit, "/somewhere/own.txt": "b" * 64}
    hub = changed(
        run,
        config={
            "teacher": "default",
            "student": "default",
            "corpus": list(sources),
            "hub_eval": True,
            "glue_dir": None,
        },
        record={
            "teacher": {"name": TASKS["sst2"].teacher, "revision": commit, "fingerprint": ""},
            "student": {"name": "default", "revision": commit},
            "corpus": {"sources": sources, "sentences": 7, "fingerprint": ""},
        },
    )
    card = run_card(hub, "me/small", licence="apache-2.0")
    data = card.data.to_dict()
    assert data["base_model"] == "google/bert_uncased_L-4_H-256_A-4" and data["datasets"] == ["Salesforce/wikitext"]
    assert data["license"] == "apache-2.0" and f"teacher:{TASKS['sst2'].teacher}" in data["tags"]
    _, results = model_index_to_eval_results(data["model-index"])
    assert ("nyu-mll/glue", "sst2", "validation") in {
        (r.dataset_type, r.dataset_config, r.dataset_split) for r in results
    }
    assert "`own.txt`" in card.text and "somebody" not in card.text
    assert f"--teacher-revision {commit}" in card.text and f"--student-revision {commit}" in card.text
    entries = evaluation_entries(hub)
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in entries] == [
        ("nyu-mll/glue", "sst2", run.metrics["student"]["scores"]["glue"]["accuracy"])
    ]


def test_eval_results_are_a_file_of_their_own(run_copy: Path) -> None:
    config = yaml.safe_load((run_copy / "config.yaml").read_text())
    (run_copy / "config.yaml").write_text(yaml.safe_dump({**config, "glue_dir": None, "hub_eval": True}))
    files = plan(run_copy, Options("me/small", evaluation=True)).files
    content = files[".eval_results/glue.yaml"]
    assert isinstance(content, bytes)
    accuracy = json.loads((run_copy / "metrics.json").read_text())["student"]["scores"]["glue"]["accuracy"]
    assert yaml.safe_load(content)[0]["value"] == accuracy
    assert len(files) == 6


def test_embedded_teacher_and_text(run: FinishedRun) -> None:
    embedded = changed(
        run,
        config={"teacher": "embedded", "corpus": ["embedded"]},
        record={
            "teacher": {"name": "embedded", "revision": None, "fingerprint": ""},
            "corpus": {"sources": {"embedded": "{}"}, "sentences": 7, "fingerprint": ""},
        },
    )
    card = run_card(embedded, "me/small")
    assert card.data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert "documentation prose of installed Python packages" in card.text and "--config embedded" in card.text


def test_a_run_without_analysis_says_so(run: FinishedRun) -> None:
    card = run_card(dataclasses.replace(run, analysis=None, transfer_set=None), "me/small")
    assert "Latency was not measured" in card.text and "Scores per class were not measured" in card.text


def test_names_cannot_break_the_card(run: FinishedRun) -> None:
    task = {**run.record["task"], "name": "a|b\n---\n# <b>x</b>", "hub_config": ""}
    card = ModelCard(str(run_card(changed(run, record={"task": task}), "me/small")))
    assert card.data.to_dict()["tags"][-1] == task["name"]
    assert all(len(row) == 4 for row in table(card, "Results").values())


def test_a_run_with_gold_labels_says_what_they_did_and_not_where_they_lie(run: FinishedRun) -> None:
    gold = changed(
        run,
        config={"gold_labels": "/home/somebody/train.tsv", "gold_weight": 0.5, "objective": "logit-mse"},
        record={"gold_labels": {"rows": 1200, "sha256": "a" * 64}},
        metrics={
            "zero_shot": {
                "enforced": False,
                "read_before_training": ["probe (teacher gate)", "gold labels (--gold-labels)"],
                "read_after_training": ["probe", "glue"],
            },
            "teacher_queries_for": {**run.metrics["teacher_queries_for"], "gold_rows": 1200},
        },
    )
    text = " ".join(run_card(gold, "me/small").text.split())
    assert "somebody" not in text and "--gold-labels train.tsv" in text
    assert "**It is not a zero-shot student**: 1,200 labelled rows were among its training inputs" in text
    assert "Before training: gold labels (--gold-labels). 1,200 rows; the student was trained on them." in text
    assert "had a part in the training loss" in text and "No label influenced a training step" not in text
    assert "1,200 labelled rows (--gold-labels)" in text and "beside them 1,200 labelled rows" in text


def test_how_it_was_made_is_told_with_what_had_an_effect(run: FinishedRun) -> None:
    text = run_card(run, "me/small").text
    split, whole = run.metrics["teacher_queries_for"], run.metrics["teacher_queries"]
    tokens = f"{split['single_tokens']:,} single tokens for the student's start"
    assert f"- Teacher queries: {whole:,}: {split['transfer_inputs']:,} inputs of the transfer set" in text
    assert tokens in text and sum(split.values()) == whole + run.metrics["teacher_queries_repeated"]
    classes = run.metrics["transfer_set"]["classes"]["negative"]
    for words, key in (("as labelled", "share_before"), ("as trained on", "share")):
        assert f"{words} negative {percent(classes[key])} %" in text
    assert "was chosen, which had the lowest loss" in text and "was kept" not in text
    assert f"on {run.metrics['agreement_rows']} held-out inputs" in text
    hard = run_card(changed(run, config={"objective": "hard-label", "temperature": 4.0}), "me/small").text
    assert "objective hard-label, seed" in hard and "at temperature" not in hard
    assert ", seed 0." in text and "for the inputs" not in text
    apart = changed(run, config={"pool_seed": 5})
    assert ", seed 0, and 5 for the inputs." in run_card(apart, "me/small").text
    assert "--pool-seed 5" in reproducing_command(apart) and "--pool-seed" not in reproducing_command(run)


@pytest.mark.parametrize(
    "options",
    [{"perturb": "adversarial", "method": []}, {"perturb": "random", "method": ["adversarial"]}],
    ids=["--perturb adversarial", "--method adversarial"],
)
def test_a_card_names_the_adversary_however_it_was_asked_for(options: dict[str, Any], run: FinishedRun) -> None:
    text = run_card(changed(run, config=options), "me/small").text
    assert "random perturbation of sentences and their parts, and later in training adversarial rows" in text
    assert "`--method" not in text
    other = run_card(changed(run, config={"perturb": "none", "method": ["class-balance"]}), "me/small").text
    assert "without perturbation; `--method class-balance`; objective" in other and "adversarial rows" not in other


def test_names_of_others_do_not_break_out_of_their_place(run_copy: Path) -> None:
    """Labels, the teacher and the text may be called anything."""
    evil = "x` | <b>y</b>\n\n# Title\n```\nend"
    record = json.loads((run_copy / "record.json").read_text(encoding="utf-8"))
    record["task"]["labels"][1] = evil
    record["teacher"]["name"] = evil
    record["corpus"]["sources"] = {f"/data/{evil}.txt": "0" * 64}
    (run_copy / "record.json").write_text(json.dumps(record), encoding="utf-8")
    analysis = json.loads((run_copy / "analysis.json").read_text(encoding="utf-8"))
    analysis["labels"][1] = evil
    (run_copy / "analysis.json").write_text(json.dumps(analysis), encoding="utf-8")
    text = run_card(read_run(run_copy), "me/small").text
    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# small"]
    fences = [line for line in text.splitlines() if line.startswith("```")]
    assert len(fences) % 2 == 0 and "end" not in fences
    # No marks of the names stand outside of code.
    outside = text.replace(code(evil), "").replace(code(f"{evil}.txt"), "")
    assert outside.count("<b>") == 0 and "\\<b\\>" in outside and text != outside
