"""Few queries and little text: every setting can run, its start is known, and kinds of rows are drawn alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recipes import few_queries, scarce_text
from recipes.cells import cell_config, start_of
from recipes.choice_bound import choose
from zskd.checks import check
from zskd.tasks.task import TASKS


@pytest.mark.parametrize("name", few_queries.SETTINGS)
@pytest.mark.parametrize("task", ["sst2", "qqp"])
def test_every_setting_is_one_that_a_run_takes(task: str, name: str, tmp_path: Path) -> None:
    options = {"task": task, "corpus": ["embedded"], **few_queries.setting(name, 2_000)}
    config = cell_config({**options, "output_dir": str(tmp_path / "run")})
    assert check(config) == [] and config.query_budget == 2_000


def test_students_of_few_queries_are_known_by_the_start_that_they_begin_with() -> None:
    packaged = start_of(TASKS["qqp"], "auto")
    assert packaged is not None and start_of(TASKS["sst2"], "auto") is None
    assert start_of(TASKS["sst2"], "auto", few=True) == packaged == start_of(TASKS["qqp"], "auto", few=True)
    assert start_of(TASKS["sst2"], "none", few=True) is None


def test_the_table_has_a_line_for_each_run(tmp_path: Path) -> None:
    content = {"training_rows": 0.7, "agreement_there": 0.75, "agreement": 0.9, "teacher_queries": 1_780, "steps": 500}
    (tmp_path / "qqp-2000-default-0.json").write_text(json.dumps({**content, "seconds": {"total": 20.4}}))
    assert few_queries.table(tmp_path).splitlines()[2:] == [
        "| qqp-2000-default-0 | 70.0 | 75.0 | 90.0 | 1,780 | 500 | 20 |"
    ]


@pytest.mark.parametrize("name", scarce_text.SETTINGS)
def test_every_setting_of_little_text_is_one_that_a_run_takes(name: str, tmp_path: Path) -> None:
    options = {"task": "sst2", "corpus": ["embedded"], **scarce_text.SETTINGS[name]}
    assert check(cell_config({**options, "output_dir": str(tmp_path / "run")})) == []


def test_rows_of_rare_kinds_are_drawn_as_often_as_those_of_frequent_ones() -> None:
    kinds = np.repeat([0, 1, 2], [7_000, 2_000, 1_000])
    logits = np.random.default_rng(0).normal(size=(10_000, 2))
    chosen = choose("spread", logits, logits, 600, np.random.default_rng(1), kinds)
    assert len(set(chosen.tolist())) == 600
    assert np.abs(np.bincount(kinds[chosen]) / 600 - 1 / 3).max() < 0.07
