"""How to use a run's student, its ONNX models, and the inputs that it answers otherwise than its teacher."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_page import EVIL, Page

from zskd.errors import InputError
from zskd.metrics.disagreements import MOST_CHARACTERS, MOST_ROWS
from zskd.report.data import load_run
from zskd.report.page import render
from zskd.report.student_section import disagreeing, disagreements, exported, usage

MODELS: dict[str, dict[str, Any]] = {
    "PyTorch": {"bytes": 3_000_000, "milliseconds": 6.5, "texts_per_second": 1066.6, "agreement": 1.0},
    "ONNX": {"bytes": 3_500_000, "milliseconds": 0.53, "texts_per_second": 1454.3, "agreement": 1.0},
    "ONNX int8": {"bytes": 1_400_000, "milliseconds": 0.52, "texts_per_second": 1526.7, "agreement": 0.9965},
}


def with_export(run: Path, **changes: Any) -> Path:
    """A run with the measurements of an export of its student; an older version wrote fewer."""
    weights = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["student"]["sha256"]
    found = {"weights": weights, "largest_difference": 1.4e-6, "threads": 1, "data": None, "models": MODELS}
    (run / "export").mkdir(exist_ok=True)
    (run / "export" / "export.json").write_text(json.dumps(found | changes), encoding="utf-8")
    return run


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints")))


def write_rows(run: Path, rows: list[dict[str, Any]]) -> None:
    (run / "disagreements.json").write_text(json.dumps(rows), encoding="utf-8")


def row(**changes: Any) -> dict[str, Any]:
    return {"texts": ["a text"], "teacher": [0.9, 0.1], "student": [0.2, 0.8], "divergence": 1.1} | changes


def test_the_lines_of_python_classify_with_the_student(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(usage(load_run(run))["python"], {})
    assert re.search(r"'label': '(negative|positive)'", capsys.readouterr().out)


def test_the_command_names_the_run(run: Path, tmp_path: Path, cli: Any) -> None:
    (tmp_path / "texts.txt").write_text("a fine film\n", encoding="utf-8")
    name, *arguments = shlex.split(usage(load_run(run))["predict"])
    assert name == "zskd" and str(run) in arguments and arguments[-1] == "texts.txt"
    done = cli(*arguments[:-1], tmp_path / "texts.txt")
    assert done.code == 0 and len(done.out.splitlines()) == 2


def test_an_odd_path_is_quoted(run: Path) -> None:
    odd = run.with_name('my "runs" & more')
    run.rename(odd)
    found = usage(load_run(odd))
    assert f"student = {json.dumps(str(odd / 'student'))}" in found["python"]
    assert shlex.split(found["predict"])[3] == str(odd)
    Page(text := render([load_run(odd)]))
    assert found["python"] in html.unescape(text) and str(odd) not in text


def test_pairs_are_given_as_pairs(run: Path) -> None:
    loaded = load_run(run)
    task = {**loaded.task, "text_columns": ["sentence1", "sentence2"]}
    found = usage(replace(loaded, record={**loaded.record, "task": task}))
    assert found["pair"] and "text_pair" in found["python"] and found["predict"].endswith("texts.tsv")
    assert not usage(loaded)["pair"] and "text_pair" not in usage(loaded)["python"]


def test_what_is_proven_has_a_command(run: Path) -> None:
    def sure(bound: float) -> str | None:
        loaded = load_run(run)
        table = [{"threshold": 0.5, "rows": 9, "coverage": 1.0, "agreement": 1.0, "bound": bound}]
        found: str | None = usage(replace(loaded, analysis={**(loaded.analysis or {}), "coverage": table}))["sure"]
        return found

    assert sure(0.94) is None
    assert str(sure(0.96)).endswith("--min-agreement 0.95")


def test_an_export_is_shown_with_what_was_measured(run: Path) -> None:
    assert exported(load_run(run)) is None and "zskd export" in render([load_run(run)])
    text = render([load_run(with_export(run))])
    table = text[text.index('<table id="onnx"') :].partition("</table>")[0]
    rows = [re.findall(r'value="([\d.]+)"', row) for row in table.split("<tr ")[1:]]
    assert rows == [
        [str(value) for value in (m["bytes"] / 1e6, m["milliseconds"], m["texts_per_second"], m["agreement"])]
        for m in MODELS.values()
    ]
    assert "accuracy" not in table and "1.4e-06" in text and "zskd export runs" not in text
    bare = {name: {key: value for key, value in model.items() if key != "agreement"} for name, model in MODELS.items()}
    assert (
        "agreement" not in render([load_run(with_export(run, models=bare))]).split('id="onnx"')[1].split("</table")[0]
    )
    scored = {"PyTorch": MODELS["PyTorch"] | {"scores": {"accuracy": 0.8142}, "milliseconds_quartiles": [6.0, 7.0]}}
    text = render([load_run(with_export(run, models=scored, data="dev.tsv", rows=872))])
    assert ">81.4</data>" in text and "6.00 to 7.00" in text and "872</data> rows (dev.tsv)" in text


def test_an_export_of_another_student_is_not_shown(run: Path) -> None:
    assert exported(load_run(with_export(run))) is not None
    assert exported(load_run(with_export(run, weights="0" * 64))) is None


def test_a_damaged_export_is_named(run: Path) -> None:
    with pytest.raises(InputError, match=r"export\.json: expected .*, found no models\.ONNX\.bytes"):
        load_run(with_export(run, models={"ONNX": {"milliseconds": 1.0, "texts_per_second": 1.0}}))


def test_examples_are_escaped_and_bounded(run: Path) -> None:
    many = [row(texts=[f"{EVIL} {i} " + "x" * 5000, "second"]) for i in range(3 * MOST_ROWS)]
    write_rows(run, many)
    text = render([load_run(run)])
    Page(text)
    assert "<script" not in text and text.count("&lt;script&gt;alert") == MOST_ROWS
    assert text.count('data-set="disagreement"') == MOST_ROWS and "x" * MOST_CHARACTERS not in text
    assert "x\N{HORIZONTAL ELLIPSIS} | second" in text


def test_each_model_has_its_class_and_that_of_the_other(run: Path) -> None:
    write_rows(run, [row()])
    (found,) = disagreements(load_run(run))
    assert found["teacher"] == {"label": "negative", "share": 0.9, "other": "positive", "other_share": 0.1}
    assert found["student"] == {"label": "positive", "share": 0.8, "other": "negative", "other_share": 0.2}
    write_rows(run, [row(teacher=[0.1, 0.2, 0.7], student=[0.1, 0.7, 0.2])])
    assert disagreements(load_run(run)) == [], "of a task with other classes"


def test_the_whole_number_is_that_of_the_confusion(run: Path) -> None:
    loaded = load_run(run)
    assert loaded.analysis is not None
    rows = loaded.metrics["agreement_rows"]
    assert disagreeing(loaded) == rows - round(loaded.metrics["agreement"] * rows) > 0
    assert disagreeing(replace(loaded, analysis=None)) is None
    write_rows(run, [])
    text = render([load_run(run)])
    assert "the same class to every held-out input" in text and 'id="disagreements"' not in text


def test_a_run_tells_where_its_models_differ(run: Path) -> None:
    loaded = load_run(run)
    shown = disagreements(loaded)
    assert 0 < len(shown) == min(MOST_ROWS, disagreeing(loaded) or 0)
    assert all(found["teacher"]["label"] != found["student"]["label"] for found in shown)
