"""The report on a transfer set: counts that add up, repeated inputs, and texts that an evaluation set shares."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conftest import prose
from datasets import Dataset

from zskd.transfer import transfer_report as module
from zskd.transfer.transfer_report import overlap, report_table, transfer_report

NAMES = ("zero", "one", "two")
FAMILIES = ("edit", "part", "related")


def inputs(count: int, *, pair: bool = False, seed: int = 0) -> tuple[Dataset, np.ndarray]:
    """Labelled inputs of three families and three classes, all mixed."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[str]] = {"text": prose(count), "family": rng.choice(FAMILIES, count).tolist()}
    if pair:
        columns["text_b"] = [" ".join(line.split()[:5]) for line in prose(count, 1)]
    logits = rng.normal(size=(count, 3)).astype(np.float32) * [3.0, 1.0, 1.0]
    return Dataset.from_dict(columns), logits


def groups(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    found = {(group["family"], group["label"]): group for group in report["groups"]}
    assert len(found) == len(report["groups"])
    return found


@pytest.mark.parametrize("pair", [False, True], ids=["text", "pair"])
def test_counts_and_shares_add_up(pair: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 64)  # several blocks, the last not full
    labelled, logits = inputs(500, pair=pair)
    report = transfer_report(labelled, logits, NAMES)
    found = groups(report)
    assert found.keys() == {(family, label) for family in FAMILIES for label in ("all", *NAMES)}
    assert report["rows"] == sum(found[family, "all"]["rows"] for family in FAMILIES) == 500
    families, predicted = np.array(labelled["family"]), logits.argmax(axis=1)
    for family in FAMILIES:
        whole = found[family, "all"]
        assert whole["rows"] == (families == family).sum() and whole["share"] == 1.0
        parts = [found[family, name] for name in NAMES]
        assert [part["rows"] for part in parts] == [((families == family) & (predicted == i)).sum() for i in range(3)]
        for part in parts:
            assert part["share"] == pytest.approx(part["rows"] / whole["rows"], abs=1e-4)
        for name in ("confidence", "entropy", "words"):
            weighted = sum(part["rows"] * part[name] for part in parts) / whole["rows"]
            assert whole[name] == pytest.approx(weighted, abs=1e-3)
    for index, name in enumerate(NAMES):
        assert sum(found[family, name]["rows"] for family in FAMILIES) == (predicted == index).sum()


def test_means_of_a_group_made_by_hand() -> None:
    labelled = Dataset.from_dict(
        {
            "text": ["a b c", "a b", "one two three four", "x"],
            "text_b": ["d", "e f", "", "y z"],
            "family": ["edit", "edit", "edit", "part"],
        }
    )
    even, sure = [0.0, 0.0, 0.0], [0.0, 50.0, 0.0]
    found = groups(transfer_report(labelled, np.array([even, sure, sure, even], dtype=np.float32), NAMES))
    assert found["edit", "one"] == {
        "family": "edit", "label": "one", "rows": 2, "share": 0.666667, "confidence": 1.0, "entropy": 0.0, "words": 4.0,
    }  # fmt: skip
    assert (found["edit", "zero"]["confidence"], found["edit", "zero"]["words"]) == (0.3333, 4.0)
    assert found["edit", "zero"]["entropy"] == pytest.approx(math.log(3), abs=1e-4)
    assert found["part", "one"] == {
        "family": "part", "label": "one", "rows": 0, "share": 0.0, "confidence": None, "entropy": None, "words": None,
    }  # fmt: skip


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_entropy_stays_below_that_of_a_teacher_that_knows_nothing(classes: int) -> None:
    labelled, _ = inputs(60)
    names = tuple("abcde"[:classes])
    report = transfer_report(labelled, np.zeros((60, classes), dtype=np.float32), names)
    assert report["entropy_limit"] == pytest.approx(math.log(classes), abs=1e-4)
    assert {group["entropy"] for group in report["groups"] if group["rows"]} == {report["entropy_limit"]}


def test_repeated_inputs_are_those_with_the_same_texts_letter_case_aside() -> None:
    def duplicates(texts: list[str], second: list[str] | None = None) -> int:
        columns = {"text": texts, "family": ["span"] * len(texts)} | ({"text_b": second} if second else {})
        logits = np.zeros((len(texts), 2), dtype=np.float32)
        return transfer_report(Dataset.from_dict(columns), logits, ("a", "b"))["duplicates"]

    assert duplicates(["one", "two", "three"]) == 0
    assert duplicates(["one", "two", "One", "one", "two"]) == 3
    assert duplicates(["one", "one", "one"], ["x", "y", "X"]) == 1
    assert duplicates(["one two", "one"], ["three", "two three"]) == 0
    assert duplicates(["one", "two"], ["two", "one"]) == 0, "sides matter"


def test_repeats_are_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 7)
    lines = prose(20)
    labelled = Dataset.from_dict({"text": [*lines, *lines[:9]], "family": ["span"] * 29})
    assert transfer_report(labelled, np.zeros((29, 2), dtype=np.float32), ("a", "b"))["duplicates"] == 9


def test_table_has_a_line_per_family_with_the_share_of_every_class() -> None:
    labelled, logits = inputs(300)
    report = transfer_report(labelled, logits, NAMES)
    header, *lines, last = report_table(report, NAMES).splitlines()
    assert [word for word in header.split() if word in NAMES] == list(NAMES)
    assert [line.split()[0] for line in lines] == sorted(FAMILIES)
    for line in lines:
        shares = [float(word) for word in line.replace("%", "").split()[-3:]]
        assert sum(shares) == pytest.approx(100, abs=0.2)
    assert last == "300 inputs, 0 of them duplicates of others"


def test_shares_are_not_rounded_twice() -> None:
    """112 of 216 are 51.852 %; rounded to four digits first, they were shown as 51.8 %, beside 48.1 %."""
    labelled = Dataset.from_dict({"text": prose(216), "family": ["span"] * 216})
    logits = np.eye(2, dtype=np.float32)[[0] * 112 + [1] * 104]
    table = report_table(transfer_report(labelled, logits, ("a", "b")), ("a", "b"))
    assert table.splitlines()[1].split()[-4:] == ["51.9", "%", "48.1", "%"]


@pytest.mark.parametrize("block", [2, 4_096])
def test_overlap_counts_rows_that_share_a_text(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", block)
    single = Dataset.from_dict({"text": ["A warm film.", "the  end", "grey stone", "x"]})
    assert overlap((["a warm film.", "The end ", "grey", "stone", "a warm film"],), single) == 2
    assert overlap((["x", "x", "y"],), single) == 2, "rows are counted, not texts"
    pair = Dataset.from_dict({"text": ["first", "second", "p"], "text_b": ["other", "FIRST one", "q"]})
    evaluation = (["first", "other", "new", "newer", "q"], ["new", "second", "first one", "newest", "p"])
    assert overlap(evaluation, pair) == 4, "on either side, and each row once"
    assert overlap((["nothing"], ["here"]), pair) == 0
