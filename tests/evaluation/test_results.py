"""Results of a run: what is kept of the teacher's accuracy, and the table that says so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from zskd.evaluation.results import finished, notes, table
from zskd.runs.folder import RunFolder
from zskd.runs.read import read_part, run_config


def test_the_table_has_every_set_and_the_numbers_of_the_metrics(finished_run: Path) -> None:
    metrics = json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    lines = table(metrics).splitlines()
    assert [line.split()[0] for line in lines] == ["teacher", "parameters", "probe", "glue", "agreement"]
    assert f"{metrics['student']['parameters']:,}" in lines[1]
    for line, name in zip(lines[2:4], ("probe", "glue"), strict=True):
        for who in ("teacher", "student"):
            assert f"{metrics[who]['scores'][name]['accuracy']:.4f}" in line
    unknown = {**metrics, "compression": None, "teacher": {**metrics["teacher"], "parameters": None}}
    assert "unknown" in table(unknown).splitlines()[1]


@pytest.mark.parametrize("run", ["finished_run", "published_run"])
def test_queries_sum_up_by_what_they_were_for(run: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(run)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    split = metrics["teacher_queries_for"]
    assert sum(metrics["teacher_queries_by_use"].values()) == metrics["teacher_queries"]
    repeated = metrics["teacher_queries_repeated"]
    assert sum(split.values()) == metrics["teacher_queries"] + repeated and repeated > 0
    tokenizer = json.loads((folder / "student" / "tokenizer.json").read_text(encoding="utf-8"))
    assert split["single_tokens"] == len(tokenizer["model"]["vocab"])
    rows = json.loads((folder / "transfer_set.json").read_text(encoding="utf-8"))["rows"]
    assert split["transfer_inputs"] == rows and split["gold_rows"] == 0
    assert metrics["agreement_rows"] < split["held_out_inputs"]
    assert (split["generator"] > 0) == (run == "finished_run")


def test_below_the_table_stands_what_happened(published_run: Path) -> None:
    metrics = json.loads((published_run / "metrics.json").read_text(encoding="utf-8"))
    config = read_part(published_run, "config.yaml")
    text = notes(metrics, config)
    assert f"held out: {metrics['agreement_rows']} inputs" in text
    before, after = (line for line in text.splitlines() if line.startswith("labelled data opened"))
    assert before.endswith("before training: probe (228 rows; can refuse a teacher, and changes nothing else)")
    assert after.endswith("probe (228 rows; the student's score); glue (27 rows; the scores of teacher and student)")
    classes = metrics["transfer_set"]["classes"]
    shares = [
        ", ".join(f"{name} {100 * entry[key]:.1f} %" for name, entry in classes.items())
        for key in ("share_before", "share")
    ]
    assert shares[0] != shares[1] and f"as labelled {shares[0]}; as trained on {shares[1]}" in text
    parts = re.search(r"teacher queries: ([\d,]+): (.*)", text)
    assert parts is not None
    numbers = [int(part.split()[0].replace(",", "")) for part in re.split(r", (?=\d)", parts[2])]
    assert sum(numbers) - metrics["teacher_queries_repeated"] == metrics["teacher_queries"]
    assert int(parts[1].replace(",", "")) == metrics["teacher_queries"]
    assert f", less {metrics['teacher_queries_repeated']:,} that repeat another of their pool" in text
    del metrics["agreement_rows"], metrics["teacher_queries_for"]  # a finished run of an older version
    assert "held out: inputs" in notes(metrics, config)


def test_a_score_that_is_nearly_all_is_not_shown_as_all(finished_run: Path) -> None:
    metrics = json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    metrics["retention"]["glue"] = 0.99962
    assert "99.96 %" in table(metrics)


def test_a_finished_run_is_known_by_its_metrics(finished_run: Path, tmp_path: Path) -> None:
    config = run_config(str(finished_run))
    assert config is not None
    config.output_dir = str(finished_run)
    assert finished(RunFolder(config)) == json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    config.output_dir = str(tmp_path)
    assert finished(RunFolder(config)) is None
