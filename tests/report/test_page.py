"""The page of a run: whole, self-contained, escaped, and with the numbers of metrics.json."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from zskd.report.data import load_run
from zskd.report.page import changed_words, render, sentences, speed_rows, write_report

VOID = {"meta", "br", "img", "input", "link", "hr"}
EVIL = '<script>alert("x")</script> & $x_1$'


class Page(HTMLParser):
    """What a page is made of; a tag that is closed out of order fails."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: dict[tuple[str, str], list[tuple[Any, str]]] = {}
        self._row: tuple[str, str] | None = None
        self._value: Any = None
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "tr":
            self._row = (str(attributes.get("data-set")), str(attributes.get("data-metric")))
        if tag == "data":
            self._value = json.loads(str(attributes["value"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "data":
            self._value = None
        if tag == "tr":
            self._row = None

    def handle_data(self, data: str) -> None:
        if self._value is not None and self._row is not None:
            self.numbers.setdefault(self._row, []).append((self._value, data))


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A run that a test may change."""
    return Path(shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints")))


@pytest.fixture
def change(run_copy: Path) -> Callable[..., Path]:
    """Change a JSON file of the run: ``change("metrics.json", function)``."""

    def change(name: str, edit: Callable[[Any], None]) -> Path:
        path = run_copy / name
        content = json.loads(path.read_text(encoding="utf-8"))
        edit(content)
        path.write_text(json.dumps(content), encoding="utf-8")
        return run_copy

    return change


def test_distill_leaves_the_report_beside_the_student(finished_run: Path) -> None:
    assert (finished_run / "report.html").read_text(encoding="utf-8") == render([load_run(finished_run)])


def test_page_is_whole_and_asks_for_nothing(finished_run: Path) -> None:
    text = render([load_run(finished_run)])
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "iframe", "object"} & set(names)
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert "http:" not in str(value) and "https:" not in str(value), (tag, name, value)
            assert name not in ("src", "href") or str(value).startswith(("#", "data:")), (tag, name, value)
    assert "url(http" not in text and "@import" not in text


def test_every_figure_has_words_and_every_name_is_used_once(finished_run: Path) -> None:
    page = Page(render([load_run(finished_run)]))
    figures = [attributes for tag, attributes in page.tags if tag in ("svg", "img")]
    assert len(figures) >= 6  # loss, agreement, divergence, kinds of rows, reliability on both texts
    for attributes in figures:
        assert attributes["role"] == "img" and len(str(attributes["aria-label"])) > 20
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    targets = {str(attributes["href"])[1:] for tag, attributes in page.tags if tag == "use"}
    assert targets <= set(names)


def test_every_number_of_the_results_is_that_of_the_metrics(finished_run: Path) -> None:
    metrics = json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    shown = Page(render([load_run(finished_run)])).numbers
    assert set(metrics["student"]["scores"]) == {"probe", "glue"}
    for name, student in metrics["student"]["scores"].items():
        teacher = metrics["teacher"]["scores"][name]
        wanted = [
            student["majority"],
            teacher["accuracy"],
            student["accuracy"],
            metrics["retention"][name],
            metrics["retention_above_chance"][name],
        ]
        found = shown[name, "accuracy"]
        assert [value for value, _ in found] == [student["rows"], *(value for value in wanted if value is not None)]
        assert all(text == f"{100 * value:.1f}" for value, text in found[1:])
    agreed = [metrics[key] for key in ("agreement_majority", "agreement", "agreement_above_chance")]
    assert [value for value, _ in shown["heldout", "agreement"]] == [value for value in agreed if value is not None]


def test_f1_has_a_row_where_the_task_has_it(change: Callable[..., Path]) -> None:
    def edit(metrics: dict[str, Any]) -> None:
        for who, value in (("teacher", 0.875), ("student", 0.625)):
            metrics[who]["scores"]["glue"]["f1"] = value

    shown = Page(render([load_run(change("metrics.json", edit))])).numbers
    assert [value for value, _ in shown["glue", "F1"]][1:] == [0.875, 0.625]


def test_same_run_gives_the_same_bytes(finished_run: Path, tmp_path: Path) -> None:
    first, second = (write_report([finished_run], tmp_path / name) for name in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()


def test_text_of_a_corpus_is_shown_and_never_run(change: Callable[..., Path]) -> None:
    def labels(content: dict[str, Any]) -> None:
        content["labels"] = [EVIL, "positive"]

    def rows(content: list[dict[str, Any]]) -> None:
        content[:] = [
            {"step": 1, "before": EVIL, "after": f"{EVIL} </svg>", "teacher": [0.9, 0.1], "student": [0.1, 0.9]}
        ]

    def families(content: dict[str, Any]) -> None:
        first = content["groups"][0]["family"]
        for group in content["groups"]:
            group["family"] = EVIL if group["family"] == first else group["family"]

    change("analysis.json", labels)
    change("transfer_set.json", families)
    text = render([load_run(change("adversarial.json", rows))])
    assert "<script" not in text and "</svg></p>" not in text
    assert text.count("&lt;script&gt;alert") >= 4
    Page(text)


def test_a_grid_of_pairs_shows_shares_and_the_most_frequent_class(change: Callable[..., Path]) -> None:
    assert 'id="grid"' not in render([load_run(change("transfer_set.json", lambda content: None))])

    def add(content: dict[str, Any]) -> None:
        cells = [
            {"overlap": 0, "cosine": 1, "share": 0.25, "classes": {EVIL: 0.75, "other": 0.25}},
            {"overlap": 1, "cosine": 0, "share": 0.75, "classes": {EVIL: 0.0, "other": 1.0}},
        ]
        content["grid"] = {
            "encoder": EVIL, "pairs": 400, "apart_and_alike": 0.125,
            "overlaps": [0.5, 1.0], "cosines": [0.7, 1.0], "cells": cells,
        }  # fmt: skip

    text = render([load_run(change("transfer_set.json", add))])
    table = text[text.index('<table id="grid">') :].partition("</table>")[0]
    assert "<script" not in text
    rows = [row.count("<td>") for row in table.split("<tr>")[2:]]
    assert rows == [2, 2] and table.count("<td>0</td>") == 2
    assert 'value="0.25">25.0</data><br><small>&lt;script' in table and 'value="0.75">75.0 %' in table
    assert "cosine 0.7 to 1, %" in table and "up to 0.5</th>" in table
    assert 'value="1.0">100.0 %' in table
    Page(text)


def test_the_student_may_answer_where_that_is_proven(change: Callable[..., Path]) -> None:
    def add(content: dict[str, Any]) -> None:
        content["coverage"] = [
            {"threshold": 0.0, "rows": 100, "coverage": 1.0, "agreement": 0.9, "bound": 0.81},
            {"threshold": 0.8, "rows": 60, "coverage": 0.625, "agreement": 0.98, "bound": 0.92},
        ]

    text = render([load_run(change("analysis.json", add))])
    table = text[text.index('<table id="coverage"') :].partition("</table>")[0]
    rows = [re.findall(r'value="([\d.]+)"', row) for row in table.split("<tr>")[2:]]
    assert rows[0] == ["0.8", "0.0", "1.0", "0.9", "0.81"] and rows[2] == ["0.9", "0.8", "0.625", "0.98", "0.92"]
    assert rows[3:] == [["0.95"], ["0.98"], ["0.99"]] and table.count("not proven") == 3
    Page(text)
    assert 'id="coverage"' not in render([load_run(change("analysis.json", lambda content: content.pop("coverage")))])


def test_an_evaluation_set_of_any_name_is_drawn(change: Callable[..., Path]) -> None:
    def rename(content: dict[str, Any]) -> None:
        content["evaluation"][EVIL] = content["evaluation"].pop("glue")

    assert "<script" not in render([load_run(change("analysis.json", rename))])


@pytest.mark.parametrize(
    "name",
    ["record.json", "history.json", "transfer_set.json", "analysis.json", "disagreements.json", "calls.json"],
)
def test_page_says_what_an_older_run_lacks(run_copy: Path, name: str) -> None:
    (run_copy / name).unlink()
    text = render([load_run(run_copy)])
    Page(text)
    assert f"(<code>{name}</code>)" in text


def test_page_names_the_parts_that_an_older_file_lacks(change: Callable[..., Path]) -> None:
    for name in ("record.json", "calls.json"):
        assert f"(<code>{name}</code>)" not in render([load_run(change(name, lambda content: None))])
    change("record.json", lambda content: content.pop("processor"))
    text = render([load_run(change("calls.json", lambda content: content[0].pop("began")))])
    Page(text)
    assert "processor (<code>record.json</code>)" in text and "date (<code>calls.json</code>)" in text


def test_the_disk_is_that_of_the_student(run_copy: Path) -> None:
    def megabytes() -> list[Any]:
        return [row["student"] for row in speed_rows(load_run(run_copy)) if "MB" in row["what"]]

    size = sum(path.stat().st_size for path in (run_copy / "student").iterdir())
    assert megabytes() == [size / 1e6]
    shutil.rmtree(run_copy / "student")
    assert megabytes() == [] and "Folder on disk" not in render([load_run(run_copy)])


def test_a_teacher_without_size_or_latency(change: Callable[..., Path]) -> None:
    def edit(metrics: dict[str, Any]) -> None:
        metrics["teacher"]["parameters"] = metrics["compression"] = None

    def slow(content: dict[str, Any]) -> None:
        content["latency"]["teacher"] = None

    change("metrics.json", edit)
    text = render([load_run(change("analysis.json", slow))])
    Page(text)
    assert "known by its outputs alone" in text and "None" not in text


def test_no_token_of_the_environment_is_in_the_page(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    assert "hf_canary" not in render([load_run(finished_run)])


def test_sentences_are_those_with_the_largest_divergence(finished_run: Path) -> None:
    run = load_run(finished_run)
    shown = sentences(run)
    assert run.examples and [row["divergence"] for row in shown] == sorted(
        (r["divergence"] for r in shown), reverse=True
    )
    assert not any("[CLS]" in row["before"] or "[SEP]" in row["before"] for row in shown)


def test_changed_words_say_what_the_generator_wrote() -> None:
    pieces = changed_words(["a", "fine", "and", "moving", "film"], ["a", "fine", "but", "moving", "play"])
    assert pieces == [("a fine", False), ("but", True), ("moving", False), ("play", True)]


def test_a_report_that_fails_costs_no_student(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from zskd.config.distillation import DistillConfig
    from zskd.pipeline import distill
    from zskd.report import page

    def fail(*_: Any) -> str:
        raise RuntimeError("no ink")

    monkeypatch.setattr(page, "render", fail)
    options = yaml.safe_load((finished_run / "config.yaml").read_text(encoding="utf-8"))
    cache = finished_run.parent / "cache"
    small = {"perturb": "none", "epochs": 1.0, "output_dir": str(tmp_path / "run"), "cache_dir": str(cache)}
    metrics = distill(DistillConfig(**{**options, **small})).metrics
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    assert (tmp_path / "run" / "student" / "model.safetensors").is_file()
    assert not (tmp_path / "run" / "report.html").exists()
    assert "no ink" in caplog.text and f"zskd report {tmp_path / 'run'}" in caplog.text
