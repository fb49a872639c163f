"""Examples of disagreement: other classes only, the largest divergence first, bounded, and the same every time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from zskd.inference.saved import load_saved
from zskd.metrics.disagreements import MOST_CHARACTERS, MOST_ROWS, disagreements
from zskd.metrics.divergence import kl_divergence


def logits(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=3.0, size=(rows, 3)).astype(np.float32)


def test_other_classes_only_and_the_largest_divergence_first() -> None:
    teacher, student = logits(200, 0), logits(200, 1)
    texts = [f"text {i}" for i in range(200)]
    found = disagreements([texts], teacher, student)
    divergence = kl_divergence(torch.from_numpy(teacher), torch.from_numpy(student)).numpy()
    differ = np.flatnonzero(teacher.argmax(axis=1) != student.argmax(axis=1))
    wanted = sorted(differ, key=lambda place: -divergence[place])[:MOST_ROWS]
    assert [row["texts"] for row in found] == [[texts[place]] for place in wanted]
    assert [row["divergence"] for row in found] == pytest.approx(divergence[wanted].tolist(), abs=1e-4)
    for row in found:
        assert sum(row["teacher"]) == pytest.approx(1.0, abs=1e-3) and sum(row["student"]) == pytest.approx(
            1.0, abs=1e-3
        )


def test_models_that_agree_leave_nothing() -> None:
    assert disagreements([["a", "b"]], logits(2, 0), 2 * logits(2, 0)) == []


def test_an_input_is_shown_once_and_long_texts_are_cut() -> None:
    teacher, student = np.array([[4.0, 0.0]] * 30), np.array([[0.0, 4.0]] * 30)
    pairs = [["same"] * 20 + [f"{i} " + "y" * 9000 for i in range(10)], ["other"] * 30]
    found = disagreements(pairs, teacher, student)
    assert [row["texts"][1] for row in found] == ["other"] * 11
    assert {len(row["texts"][0]) for row in found} == {4, MOST_CHARACTERS}


def test_logits_without_bounds_are_no_examples_that_a_file_cannot_hold() -> None:
    teacher = np.array([[np.inf, 0.0], [0.0, np.nan], [0.0, -np.inf], [9.0, 0.0]])
    with np.errstate(invalid="ignore"):
        found = disagreements([list("abcd")], teacher, np.array([[0.0, 9.0]] * 4))
    assert [row["texts"] for row in found] == [["c"], ["d"]]
    json.dumps(found, allow_nan=False)


def test_a_run_writes_the_probabilities_of_its_own_models(published_run: Path) -> None:
    rows = json.loads((published_run / "disagreements.json").read_text(encoding="utf-8"))
    assert rows
    config = json.loads((published_run / "record.json").read_text(encoding="utf-8"))
    for who, name in (("teacher", config["teacher"]["name"]), ("student", str(published_run))):
        saved = load_saved(name, flag="--model", task_name="sst2")
        asked = saved.classifier.logits(([row["texts"][0] for row in rows],), max_length=32)
        expected = torch.from_numpy(asked).softmax(-1).numpy()
        np.testing.assert_allclose([row[who] for row in rows], expected, atol=2e-3)
