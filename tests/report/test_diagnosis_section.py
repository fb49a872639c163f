"""The diagnosis on a run's page and in a comparison: its numbers, its absence, and files that are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diagnoses import NAMES, diagnosis, many, put
from test_comparison import variant
from test_page import EVIL, Page

from zskd.diagnosis.stored import read_diagnosis
from zskd.errors import InputError
from zskd.report.data import load_run, load_runs
from zskd.report.page import render

Found = dict[str, Any]


@pytest.fixture
def folder(finished_run: Path, tmp_path: Path) -> Path:
    """A run that a test may diagnose."""
    ignored = shutil.ignore_patterns("checkpoints", "student")
    return Path(shutil.copytree(finished_run, tmp_path / "run", ignore=ignored))


def shown(page: Page, kind: str) -> dict[str, list[float]]:
    """Exact numbers of the rows of a kind."""
    return {name: [value for value, _ in values] for (found, name), values in page.numbers.items() if found == kind}


def test_the_numbers_are_those_of_the_file(folder: Path) -> None:
    found = diagnosis(NAMES)
    signals = found["signals"]
    page = Page(render([load_run(put(folder, found))]))
    spreads = {
        "confidence": signals["instance"]["confidence"],
        "margin": signals["instance"]["margin"],
        "entropy of the rest": signals["domain"]["entropy"],
        "gradient, untrained": signals["rescaling"]["untrained"],
        "gradient, student": signals["rescaling"]["student"],
    }
    assert shown(page, "spread") == {
        name: [values[key] for key in ("mean", "p05", "p50", "p95")] for name, values in spreads.items()
    }
    assert shown(page, "number") == {
        "confidence above 0.99": [signals["instance"]["sure"]],
        "information": [signals["information"]],
        "flatness": [signals["domain"]["flatness"]],
        "kd beside kd-pt": [signals["levels"]["domain"]],
        "kd-pt beside hard-label": [signals["levels"]["instance"]],
    }
    assert shown(page, "calibration") == {
        key: [signals["calibration"][key]] for key in ("accuracy", "confidence", "ece")
    }
    temperatures = signals["instance"]["by_temperature"]
    assert [float(t) for t in shown(page, "temperature")] == [float(t) for t in temperatures]
    assert list(shown(page, "temperature").values()) == [[value] for value in temperatures.values()]
    for name, matrix in signals["domain"]["similarity"].items():
        assert shown(page, name) == dict(zip(NAMES, matrix, strict=True))
    for pair in signals["separation"]:
        (a, b), key = pair["classes"], "-".join(map(str, pair["classes"]))
        alike = [signals["domain"]["similarity"][name][a][b] for name in ("output_layer", "predictions")]
        assert shown(page, "pair")[key] == [pair["rows"], pair["separation"], pair["apart"], *alike]


def test_two_classes_have_no_domain_level(folder: Path) -> None:
    text = render([load_run(put(folder, diagnosis(("negative", "positive"))))])
    page = Page(text)
    assert "need at least three of them" in text
    assert not shown(page, "predictions") and not shown(page, "pair") and "flatness" not in shown(page, "number")


def test_of_many_classes_those_answered_most_are_shown(folder: Path) -> None:
    labels = many(20)
    found = diagnosis(labels, scale=3.0)
    text = render([load_run(put(folder, found))])
    share = dict(zip(labels, found["signals"]["classes"]["share"], strict=True))
    rows = shown(Page(text), "predictions")
    assert "10 of 20 classes" in text and len(rows) == 10 and {len(row) for row in rows.values()} == {10}
    assert min(share[label] for label in rows) >= max(share[label] for label in labels if label not in rows)
    matrix = found["signals"]["domain"]["similarity"]["predictions"]
    places = [labels.index(label) for label in rows]
    assert list(rows.values()) == [[matrix[i][j] for j in places] for i in places]


def test_a_black_box_without_labels_shows_what_there_is(folder: Path) -> None:
    text = render([load_run(put(folder, diagnosis(NAMES, black_box=True, plain=True)))])
    page = Page(text)
    assert shown(page, "predictions") and not shown(page, "output_layer") and not shown(page, "calibration")
    assert "gradient, student" not in shown(page, "spread") and "labelled rows" not in text
    assert {len(row) for row in shown(page, "pair").values()} == {4}


def test_advice_that_the_run_did_not_follow_comes_with_its_command(folder: Path) -> None:
    found = diagnosis(NAMES, scale=40.0)
    (trouble,) = [item for item in found["findings"] if item["trouble"]]
    text = render([load_run(put(folder, found))])
    temperature = found["advice"]["temperature"]
    assert temperature > 1 and f"--objective kd --temperature {temperature:g} --output-dir NEW" in text
    assert trouble["message"].split(" (")[0] in text and "This run used logit-mse" in text
    used = load_run(folder).config
    found["advice"] |= {"objective": used["objective"], "temperature": used["temperature"]}
    text = render([load_run(put(folder, found))])
    assert "This run used these settings" in text and "--output-dir NEW" in text and "--objective" not in text


def test_nothing_is_advised_for_a_constant_teacher(folder: Path) -> None:
    found = diagnosis(NAMES, scale=0.01)
    assert found["advice"]["objective"] is None
    text = render([load_run(put(folder, found))])
    assert '<b id="advice">Nothing</b>' in text and "constant:" in text


@pytest.mark.parametrize("labels", [("negative", "positive"), NAMES, many(20)])
def test_figure_and_tables_have_words(folder: Path, labels: tuple[str, ...]) -> None:
    found = diagnosis(labels)
    page = Page(render([load_run(put(folder, found))]))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    figures = [str(attributes["aria-label"]) for tag, attributes in page.tags if tag == "svg"]
    (words,) = [text for text in figures if "confidence over" in text and "Distribution" in text]
    assert f"{found['texts']:,} texts" in words and "median" in words
    for tag, attributes in page.tags:
        if tag == "table" and attributes.get("class") == "similarity":
            assert len(str(attributes["aria-label"])) > 20
        if tag == "div" and attributes.get("class") == "wide":
            assert (
                attributes["role"] in ("region", "group") and attributes["aria-label"] and attributes["tabindex"] == "0"
            )


def test_without_a_diagnosis_the_page_says_how_to_get_one(finished_run: Path) -> None:
    text = render([load_run(finished_run)])
    assert "Diagnosis of the teacher" not in text and f"zskd diagnose {finished_run}" in text
    assert "Diagnosis of the teachers" not in render(load_runs([finished_run]) * 2)


def test_names_are_shown_and_never_run(folder: Path) -> None:
    found = diagnosis((EVIL, "neutral", "contradiction"))
    found["teacher"] = EVIL
    text = render([load_run(put(folder, found))])
    Page(text)
    assert "<script" not in text and text.count("&lt;script&gt;alert") >= 4


def test_a_comparison_has_the_advice_of_each_run(finished_run: Path, folder: Path, tmp_path: Path) -> None:
    sure, sound = diagnosis(NAMES, scale=40.0), diagnosis(NAMES)
    other = put(variant(finished_run, tmp_path / "sure", perturb="none"), sure)
    text = render(load_runs([put(folder, sound), other, finished_run.parent / "run"]))
    page = Page(text)
    assert shown(page, "diagnosis") == {
        "run": [sound["signals"]["instance"]["confidence"]["mean"]],
        "sure": [sure["signals"]["instance"]["confidence"]["mean"]],
    }
    assert ">over-confident</td>" in text and f"kd, T = {sure['advice']['temperature']:g}<small>the run had" in text
    assert "1 other run has no <code>diagnosis.json</code>" in text


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"signals": null}'])
def test_a_damaged_file_is_named(folder: Path, content: str, cli) -> None:
    (folder / "diagnosis.json").write_text(content, encoding="utf-8")
    done = cli("report", folder)
    assert done.code == 2 and "diagnosis.json: expected" in done.errors[0]


def change(*path: str | int, to: Any) -> Callable[[Found], None]:
    """A function that replaces one value of a diagnosis."""

    def edit(found: Any) -> None:
        for part in path[:-1]:
            found = found[part]
        found[path[-1]] = to

    return edit


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda found: found["signals"].pop("information"), "no signals.information"),
        (lambda found: found["signals"]["instance"]["margin"].pop("p50"), "no signals.instance.margin.p50"),
        (change("signals", "instance", "sure", to="most"), "'most' as signals.instance.sure"),
        (change("signals", "information", to=float("nan")), "nan as signals.information"),
        (change("signals", "information", to=True), "True as signals.information"),
        (change("findings", to={}), "a dict as findings"),
        (change("advice", "temperature", to=None), "an objective without a temperature"),
        (change("labels", to=["a", "b"]), "a signals.domain for 2 labels"),
        (change("labels", to=["a", "b", "c", "d"]), "for 4 labels"),
        (change("signals", "instance", "histogram", "edges", to=[0.5, 1.0]), "2 signals.instance.histogram.edges"),
        (
            change("signals", "domain", "similarity", "predictions", 0, to=[1.0]),
            "signals.domain.similarity.predictions",
        ),
        (change("signals", "separation", 0, "classes", to=[0, 3]), "[0, 3] as the classes of a pair"),
    ],
)
def test_what_is_no_diagnosis_is_said(tmp_path: Path, edit: Callable[[Found], None], says: str) -> None:
    found = diagnosis(NAMES)
    assert read_diagnosis(put(tmp_path, found)) == json.loads(json.dumps(found))
    edit(found)
    with pytest.raises(InputError) as raised:
        read_diagnosis(put(tmp_path, found))
    assert says in str(raised.value) and "diagnosis.json: expected" in str(raised.value)
    assert f"zskd diagnose {tmp_path}" in str(raised.value)
