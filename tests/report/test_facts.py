"""The facts of a report are those of its run, whatever kind of run it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zskd.config.distillation import DistillConfig
from zskd.pipeline import distill
from zskd.report.data import Run, load_run
from zskd.report.facts import class_table, facts, heldout_rows, repeatable
from zskd.report.page import render


def changed(run: Run, metrics: dict[str, Any] | None = None, **config: Any) -> Run:
    return replace(run, metrics={**run.metrics, **(metrics or {})}, config={**run.config, **config})


def told(run: Run) -> dict[str, str]:
    return dict(facts(run))


def test_classes_are_named_as_labelled_and_as_trained_on(published_run: Path) -> None:
    run = load_run(published_run)
    before, after = (run.metrics["transfer_set"]["classes"]["negative"][key] for key in ("share_before", "share"))
    assert before != after
    text = told(run)["transfer set"]
    assert (
        f"as labelled negative {100 * before:.1f} %" in text and f"as trained on negative {100 * after:.1f} %" in text
    )
    assert next((row["before"], row["share"]) for row in class_table(run)) == (before, after)
    assert "as labelled, %" in render([run]) and "as trained on, %" in render([run])


def test_a_class_without_rows_has_no_confidence(published_run: Path) -> None:
    run = load_run(published_run)
    classes = {**run.metrics["transfer_set"]["classes"], "none": {"share_before": 0.0, "share": 0.0, "confidence": 0.0}}
    run = changed(run, {"transfer_set": {**run.metrics["transfer_set"], "classes": classes}})
    assert [row["confidence"] for row in class_table(run)][-1] is None


def test_queries_are_split_and_the_cache_is_named(published_run: Path) -> None:
    run = load_run(published_run)
    split = run.metrics["teacher_queries_for"]
    text = told(changed(run, {"teacher_queries_live_in_all_calls": 10}))["teacher queries"]
    assert f"{split['single_tokens']:,} single tokens for the student's start" in text
    assert f"; 10 were asked for, {run.metrics['teacher_queries'] - 10:,} came from the cache" in text, (
        "answers to a call that was killed before training are in the cache, and not from before the run"
    )
    assert "not counted: its answers to probe and glue" in text
    assert told(changed(run, {"teacher_queries": None}))["teacher queries"] == "not recorded"


def test_a_budget_is_said_where_there_was_one(published_run: Path) -> None:
    run = load_run(published_run)
    assert "query budget" not in told(run)
    spent = {
        "budget": 900,
        "spent": 840,
        "for": {"gate": 240, "transfer_inputs": 560, "single_tokens": 0, "repeated": 40},
    }
    words = "240 rows of the probe, 560 inputs of the transfer set, 40 texts of calls that failed"
    assert told(changed(run, {"query_budget": spent}))["query budget"] == f"900, of which 840 ({words}) were spent"


@pytest.mark.parametrize(
    ("options", "words", "wrong"),
    [
        ({"objective": "logit-mse", "temperature": 2.0}, "objective logit-mse", "temperature"),
        ({"objective": "hard-label", "temperature": 2.0}, "objective hard-label", "temperature"),
        ({"objective": "kd", "temperature": 2.0}, "objective kd at temperature 2", "adversary"),
        ({"method": ["adversarial"], "perturb": "random"}, "adversary gradient", "--method"),
        ({"method": ["class-balance"]}, "--method class-balance", "adversary"),
    ],
)
def test_the_method_names_what_had_an_effect(
    options: dict[str, Any], words: str, wrong: str, published_run: Path
) -> None:
    text = told(changed(load_run(published_run), **options))["method"]
    assert words in text and wrong not in text


def test_what_was_handed_over_in_python_is_said_to_be(published_run: Path) -> None:
    """A list of texts was named by its copy in the cache, and pairs that were used as they are by a method."""
    run = load_run(published_run)
    assert repeatable(run) and "handed over" not in told(run)["text"] + told(run)["method"]
    copy = changed(run, corpus=[f"/cache/texts/{'0' * 16}.jsonl"], perturb="none")
    assert told(copy)["text"].startswith("texts that were handed over in Python (")
    assert repeatable(copy), "the copy is in the cache"
    groups = [{**group, "family": "given"} for group in (run.transfer_set or {})["groups"]]
    pairs = replace(copy, transfer_set={**(run.transfer_set or {}), "groups": groups})
    assert told(pairs)["method"].startswith("pairs used as they were handed over, objective")
    assert not repeatable(pairs), "a command would shape other pairs"


def test_a_resumed_run_says_so_and_short_times_are_not_nothing(published_run: Path) -> None:
    run = load_run(published_run)
    assert "resumed" not in told(run)["training"] and "calls" not in told(run)["time"]
    seconds = {"corpus": 0.02, "training": 0.44, "scoring": 119.7, "total": 120.16}
    resumed = told(changed(run, {"resumed_from": 10, "calls": 2, "seconds": seconds}))
    assert "resumed at step 10" in resumed["training"]
    assert resumed["time"] == (
        "2 min 0 s in 2 calls, of which all but the last were cut short; of these "
        "scoring 2 min 0 s, training 0.44 s, corpus 0.02 s"
    )
    ended = told(changed(run, {"collapse": "one class has all answers"}))["training"]
    assert "ended early: one class has all answers" in ended and "as many as" not in ended


def test_date_and_machine_are_told_as_far_as_they_are_known(published_run: Path) -> None:
    run = load_run(published_run)
    name = run.record["processor"]
    assert name and told(run)["machine"].startswith(name) and "thread" in told(run)["machine"]
    (call,) = run.calls
    assert told(run)["date"] == f"begun {call['began'][:10]} {call['began'][11:16]} UTC"
    calls = [{"began": "2026-01-31T23:30:00-02:00"}, {}, {"began": "2026-02-02T10:00:00+00:00"}]
    assert told(replace(run, calls=calls))["date"] == "begun 2026-02-01 01:30 UTC, last resumed 2026-02-02 10:00 UTC"
    record = {**run.record, "machine": {"threads": 1, "gpu": "H200"}, "processor": "Some CPU"}
    assert told(replace(run, record=record))["machine"] == "Some CPU, 1 thread; H200"
    older = told(replace(run, calls=[{}], record={}))
    assert older["date"] == older["machine"] == "not recorded"


def test_checkpoints_are_chosen_and_shares_are_kept(published_run: Path) -> None:
    text = told(load_run(published_run))["training"]
    assert "was chosen" in text and "kept" not in text


@pytest.mark.parametrize(("outputs", "words"), [("labels", "answers with labels only"), ("logits", "parameters")])
def test_a_teacher_of_labels_alone_is_said_to_be_one(outputs: str, words: str, published_run: Path) -> None:
    assert words in told(changed(load_run(published_run), teacher_outputs=outputs))["teacher"]


def test_labelled_data_is_stated_with_what_it_was_opened_for(published_run: Path) -> None:
    text = " ".join(render([load_run(published_run)]).split())
    assert "opened before training: probe (228 rows; can refuse a teacher, and changes nothing else)" in text
    assert "probe (228 rows; the student's score), glue (27 rows; the scores of teacher and student)" in text.replace(
        "&#39;", "'"
    )
    assert "after it, for the scores: nothing" not in text


def test_a_run_with_gold_labels(config_for: Callable[..., DistillConfig], glue_dir: Path) -> None:
    labels = glue_dir / "SST-2" / "train.tsv"
    config = config_for("sst2", gold_labels=str(labels), hub_eval=False)
    metrics = distill(config).metrics
    assert metrics["teacher_queries_for"]["gold_rows"] == 120
    assert (
        sum(metrics["teacher_queries_for"].values()) == metrics["teacher_queries"] + metrics["teacher_queries_repeated"]
    )
    assert metrics["zero_shot"]["read_before_training"] == ["probe (teacher gate)", "gold labels (--gold-labels)"]
    run = load_run(str(config.output_dir))
    assert "beside them 120 labelled rows" in told(run)["transfer set"]
    assert "unrelated" not in told(run)["text"] and repeatable(run)
    text = " ".join(render([run]).split())
    assert "gold labels (120 rows; the student was trained on them)" in text
    assert (
        "not zero-shot: the labelled rows of --gold-labels were among the training inputs" in text
        and "Python program" not in text
    )
    assert heldout_rows(run) == metrics["agreement_rows"]
