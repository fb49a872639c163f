"""The bake-off: every setting can run, no method is left out, and the table compares with plain distillation."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from recipes import bake_off
from recipes.cells import cell_config
from zskd.checks import check
from zskd.config.methods.table import METHODS, method_queries, used_methods
from zskd.tasks.task import TASKS


@pytest.mark.parametrize("name", bake_off.SETTINGS)
@pytest.mark.parametrize("task", ["sst2", "qqp"])
def test_every_setting_is_one_that_a_run_takes(task: str, name: str, tmp_path: Path) -> None:
    options = {"task": task, "corpus": ["embedded"], **bake_off.setting(TASKS[task], name)}
    config = cell_config({**options, "output_dir": str(tmp_path / "run")})
    assert check(config) == []
    assert 0 <= method_queries(config) < config.pool_size
    plain = cell_config({"task": task, **bake_off.setting(TASKS[task], "plain")})
    assert (config.pool_size == plain.pool_size) == (name != "more"), "equal queries"
    assert method_queries(replace(plain, pool_size=plain.pool_size)) == 0


def test_every_method_has_a_setting() -> None:
    used = {spec.name for options in bake_off.SETTINGS.values() for spec in used_methods(cell_config(options))}
    assert used == set(METHODS)


def test_the_table_has_differences_to_the_plain_run_of_the_same_task_and_seed(tmp_path: Path) -> None:
    agreements = {"qqp-plain-0": 0.75, "qqp-anchors-0": 0.762, "sst2-anchors-0": 0.9, "qqp-anchors-1": 0.7}
    rest = {"training_rows": 0.7, "agreement": 0.9, "teacher_queries": 22_500, "steps": 100}
    for name, agreement in agreements.items():
        content = {**rest, "agreement_there": agreement, "seconds": {"training": 3.0}}
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    rows = dict(line.strip("| ").split(" | ", 1) for line in bake_off.table(tmp_path).splitlines()[2:])
    assert rows["qqp-anchors-0"] == "70.0 | 76.2 | +1.2 | 90.0 | 22,500 | 30"
    assert "| +0.0 |" in rows["qqp-plain-0"] and "+" not in rows["sst2-anchors-0"] + rows["qqp-anchors-1"]


def test_a_dry_run_names_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "qqp-plain-0.json").write_text("{}", encoding="utf-8")
    given = ["--data", "x", "--tasks", "qqp", "--names", "plain", "anchors", "--results", str(tmp_path), "--dry-run"]
    monkeypatch.setattr(sys, "argv", ["bake_off", *given])
    assert bake_off.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "qqp-anchors-0", "1 of 2 runs are left: about 0.1 hours on two idle cores",
    ]  # fmt: skip
