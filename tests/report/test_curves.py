"""Which figures a run has: those whose numbers its log holds, with its own numbers in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

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


def test_the_words_have_the_numbers_of_the_log(finished_run: Path) -> None:
    log = json.loads((finished_run / "history.json").read_text(encoding="utf-8"))
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    figure = training_figures(load_run(finished_run))[0]
    assert f"held-out text from {losses[0]:.3f} to {losses[-1]:.3f}" in figure["svg"]


def test_each_evaluation_set_has_its_reliability(finished_run: Path) -> None:
    run = load_run(finished_run)
    assert titles(reliability(run)) == ["glue, against labels", "held-out text, against the teacher's classes"]
    assert reliability(replace(run, analysis=None)) == []
