"""Figures of methods: what they log is drawn, and what is drawn is logged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import METHODS
from zskd.pipeline import distill
from zskd.report.data import load_run
from zskd.report.method_curves import FIGURES, method_figures
from zskd.report.page import render


def test_every_method_but_the_first_two_has_figures() -> None:
    assert set(FIGURES) == set(METHODS) - {"class-balance", "adversarial"}


@pytest.mark.parametrize("name", FIGURES)
def test_what_is_drawn_is_what_a_run_logs(name: str, tiny_config: DistillConfig, tmp_path: Path, monkeypatch) -> None:
    schedule = tmp_path / "schedule.yaml"
    schedule.write_text("{teacher: [{until: 1.0, mask: [1, 0.2]}]}")
    more = {"roles_schedule": str(schedule)} if name == "roles" else {}
    monkeypatch.setattr("zskd.methods.notes.EVERY", 3)
    result = distill(replace(tiny_config, method=[name], pool_size=1_200, **more))
    run = load_run(result.run_dir)
    figures = method_figures(run)
    assert [figure["title"] for figure in figures] == [f"{figure.title} ({name})" for figure in FIGURES[name]]
    page = render([run])
    for figure in FIGURES[name]:
        assert f"{figure.title} ({name})" in page
        assert all(run.curve(f"{name}/{key}")[0] for key in figure.lines), figure.lines
    logged = {key for entry in run.history for key in entry if key.startswith(f"{name}/")}
    drawn = {f"{name}/{key}" for figure in FIGURES[name] for key in figure.lines}
    assert logged == drawn
