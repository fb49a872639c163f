"""Which figures a run has: those whose numbers its log holds, with its own numbers in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zskd.report.curves import adversary_figures, reliability, training_figures
from zskd.report.data import load_run


def titles(figures: list[dict]) -> list[str]:
    return [figure["title"] for figure in figures]


def test_an_adversarial_run_has_its_rounds_and_a_random_one_has_not(finished_run: Path, published_run: Path) -> None:
    both = ["Loss", "Agreement on held-out text"]
    assert titles(training_figures(load_run(finished_run))) == titles(training_figures(load_run(published_run))) == both
    found = titles(adversary_figures(load_run(finished_run)))
    assert found == ["Divergence per round", "Divergence by origin of the row"]
    assert adversary_figures(load_run(published_run)) == []


@pytest.mark.parametrize(
    ("options", "axis"),
    [
        ({"objective": "logit-mse"}, "logit-mse: squared difference of logits"),
        ({"objective": "kd", "temperature": 2.0}, "kd: T² KL at T = 2 (nats)"),
        ({"objective": "hard-label", "temperature": 2.0}, "hard-label: cross-entropy (nats)"),
    ],
    ids=["logits", "kd", "labels"],
)
def test_the_axis_of_the_loss_has_the_unit_of_the_objective(
    options: dict[str, Any], axis: str, finished_run: Path
) -> None:
    run = load_run(finished_run)
    figure = training_figures(replace(run, config={**run.config, **options}))[0]
    assert figure["title"] == "Loss" and f">{axis}</text>" in figure["svg"]
    assert ("nats" in figure["svg"]) == ("nats" in axis)
    assert ">chosen checkpoint</text>" in figure["svg"] and ">kept</text>" not in figure["svg"]


@pytest.mark.parametrize(
    "options", [{"gold_labels": "a.tsv", "gold_weight": 0.5}, {"method": ["class-balance", "another"]}]
)
def test_losses_on_two_kinds_of_rows_stand_apart_where_they_are_two_losses(
    options: dict[str, Any], finished_run: Path
) -> None:
    run = load_run(finished_run)
    first, second, _ = training_figures(replace(run, config={**run.config, "objective": "kd", **options}))
    assert [first["title"], second["title"]] == ["Loss on the training rows", "Loss on the held-out text"]
    more = ", with gold labels" if "gold_labels" in options else ", and the terms of another"
    assert f">kd: KL (nats){more}</text>" in first["svg"] and ">held-out text</text>" not in first["svg"]
    assert ">kd: KL (nats)</text>" in second["svg"]


@pytest.mark.parametrize(("temperature", "label"), [(1.0, "KL(teacher, student) (nats)"), (2.0, "at T = 2 (nats)")])
def test_divergences_of_an_adversary_are_no_losses_of_the_student(
    temperature: float, label: str, finished_run: Path
) -> None:
    run = load_run(finished_run)
    for figure in adversary_figures(replace(run, config={**run.config, "temperature": temperature})):
        assert label in figure["svg"] and "the student's loss" not in figure["svg"]


def test_the_words_have_the_numbers_of_the_log(finished_run: Path) -> None:
    log = json.loads((finished_run / "history.json").read_text(encoding="utf-8"))
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    figure = training_figures(load_run(finished_run))[0]
    assert f"held-out text from {losses[0]:.3f} to {losses[-1]:.3f}" in figure["svg"]


def test_a_curve_of_one_point_is_left_out(finished_run: Path) -> None:
    run = load_run(finished_run)
    first = next(entry for entry in run.history if "eval_loss" in entry)
    once = [entry for entry in run.history if "eval_loss" not in entry or entry is first]
    found = training_figures(replace(run, history=once))
    assert titles(found) == ["Loss"]
    assert ">training rows</text>" in found[0]["svg"] and ">held-out text</text>" not in found[0]["svg"]
    assert training_figures(replace(run, history=[first])) == []


def test_each_evaluation_set_has_its_reliability(finished_run: Path) -> None:
    run = load_run(finished_run)
    assert titles(reliability(run)) == ["glue, against labels", "held-out text, against the teacher's classes"]
    assert reliability(replace(run, analysis=None)) == []
