"""`zskd diagnose` names a planted defect at every severity, on seeds no threshold was set on, and no other."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest

from recipes.planted import DEFECTS, SEVERITIES, plant
from zskd.config.objective_options import OBJECTIVES
from zskd.diagnosis.findings import advise, find
from zskd.diagnosis.printed import as_text
from zskd.diagnosis.signals import measure
from zskd.teacher.outputs import EPSILON

CASES = ((3, 30), (5, 31))  # classes and seed
PLANTED = [(defect, severity, *case) for defect in DEFECTS for severity in SEVERITIES for case in CASES]


@functools.cache
def diagnosis(defect: str | None, severity: int, num_labels: int, seed: int) -> dict[str, Any]:
    made = plant(defect, severity, seed, num_labels)
    labels = tuple(f"class {i}" for i in range(num_labels))
    signals = measure(made.logits, cosines=made.cosines, labelled=made.labelled)
    found = find(signals, labels)
    return {
        "task": "planted",
        "labels": list(labels),
        "teacher": "network",
        "texts": len(made.logits),
        "signals": signals,
        "findings": found,
        "advice": advise(signals, found, num_labels),
    }


def troubles(found: dict[str, Any]) -> set[str]:
    return {item["name"] for item in found["findings"] if item["trouble"]}


@pytest.mark.parametrize(("defect", "severity", "num_labels", "seed"), PLANTED)
def test_a_planted_defect_is_named_and_no_other(defect: str, severity: int, num_labels: int, seed: int) -> None:
    found = diagnosis(defect, severity, num_labels, seed)
    assert troubles(found) == {defect}
    if defect == "merged-classes":
        (item,) = [item for item in found["findings"] if item["trouble"]]
        assert item["evidence"]["classes"] == [0, 1]


@pytest.mark.parametrize("seed", range(32, 36))
@pytest.mark.parametrize("num_labels", [2, 3, 5])
def test_a_sound_teacher_has_no_trouble(num_labels: int, seed: int) -> None:
    found = diagnosis(None, 0, num_labels, seed)
    assert troubles(found) == set()
    assert found["advice"]["objective"] == ("logit-mse" if num_labels == 2 else "kd")
    assert found["advice"]["temperature"] == 1.0


@pytest.mark.parametrize("defect", ["over-confident", "constant"])
def test_two_classes_show_what_needs_no_class_relations(defect: str) -> None:
    assert troubles(diagnosis(defect, 1, 2, 30)) == {defect}


@pytest.mark.parametrize("defect", [None, *DEFECTS])
def test_advice_can_be_followed_and_text_and_json_hold_everything(defect: str | None) -> None:
    found = diagnosis(defect, 1, 3, 30)
    advice = found["advice"]
    assert advice["objective"] in (*OBJECTIVES, None) and advice["why"]
    assert (advice["objective"] is None) == (defect == "constant")
    assert json.loads(json.dumps(found)) == found
    text = as_text(found)
    assert all(item["message"] in text for item in found["findings"])
    assert advice["why"] in text


def test_an_over_confident_teacher_is_asked_at_a_temperature_at_which_inputs_differ() -> None:
    found = diagnosis("over-confident", 2, 3, 30)
    advice = found["advice"]
    assert advice["temperature"] > 1.0
    assert found["signals"]["instance"]["by_temperature"][str(advice["temperature"])] <= 0.9


def test_two_classes_and_a_class_that_is_never_meant_are_worth_knowing() -> None:
    names = {item["name"]: item["trouble"] for item in diagnosis(None, 0, 2, 32)["findings"]}
    assert names == {"two-classes": False}
    made = plant(None, 0, 32, 3).logits.copy()
    made[:, 2] = made.min(axis=1) - 6
    names = {item["name"] for item in find(measure(made), ("a", "b", "c"))}
    assert "nearly-binary" in names


def test_a_teacher_of_labels_alone_is_not_called_over_confident() -> None:
    # Its confidence of 0.999 is zskd's: see `zskd.teacher.outputs`.
    logits = np.full((400, 2), np.log(EPSILON))
    logits[np.arange(400), (np.arange(400) % 3 > 0).astype(int)] = np.log(1 - EPSILON)
    signals = measure(logits)
    assert next(item["name"] for item in find(signals, ("a", "b"))) == "over-confident"
    found = find(signals, ("a", "b"), "labels")
    assert [(item["name"], item["trouble"]) for item in found] == [("labels-only", False)]
    assert "0.999" in found[0]["message"] and "say nothing about the teacher" in found[0]["message"]
    assert advise(signals, found, 2)["objective"] == "hard-label"
