"""Which labelled inputs stay: by confidence, or all of them; and what the teacher says of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chosen_rows import choose, logits_of
from datasets import Dataset

from zskd.errors import InputError
from zskd.metrics.scores import probabilities
from zskd.transfer.logits import teacher_logits
from zskd.transfer.transfer_set import MIN_ROWS, TransferSet


def test_neutral_settings_keep_every_row() -> None:
    logits = logits_of((900, 100))
    np.testing.assert_array_equal(choose(logits).rows, np.arange(len(logits)))


def test_confidence_is_monotone_and_exact() -> None:
    logits = logits_of((500, 300, 200))
    confidence = probabilities(logits).max(axis=1)
    kept = {level: choose(logits, level).rows for level in (0.0, 0.4, 0.6, 0.8)}
    for level, rows in kept.items():
        np.testing.assert_array_equal(rows, np.flatnonzero(confidence >= level))
    assert set(kept[0.8]) < set(kept[0.6]) < set(kept[0.4]) <= set(kept[0.0])


@pytest.mark.parametrize(("counts", "confidence"), [((MIN_ROWS - 1, 0), 0.0), ((300, 300), 1.0)])
def test_too_few_rows_are_refused(counts: tuple[int, int], confidence: float) -> None:
    with pytest.raises(InputError) as caught:
        choose(logits_of(counts), confidence)
    for part in (f"--min-confidence {confidence}", str(MIN_ROWS), f"of {sum(counts)}"):
        assert part in str(caught.value)


def test_further_columns_go_with_their_rows() -> None:
    inputs = Dataset.from_dict({"text": [str(i) for i in range(100)]})
    rows = TransferSet.of(inputs, logits_of((60, 40)), ("a", "b"), 0)
    chosen = replace(rows, rows=np.array([3, 3, 7]), columns={"weight": np.arange(100) / 10}).dataset()
    assert chosen["text"][:] == ["3", "3", "7"] and chosen["weight"][:] == [0.3, 0.3, 0.7]
    assert rows.dataset() is inputs, "all of them are not copied"


def test_just_enough_rows_stay() -> None:
    assert len(choose(logits_of((MIN_ROWS - 10, 10))).rows) == MIN_ROWS


def test_a_class_with_few_answers_has_a_share() -> None:
    """3 of 90,000 were 0 in the file, and "0.0 %" in the report."""
    found = choose(logits_of((89_997, 3)), share=1.0).report()["one"]
    assert found["share_before"] == found["share"] == pytest.approx(3 / 90_000, abs=1e-6)
    assert found["confidence"] > 0.5


def test_report_describes_both_sides_in_the_tasks_words() -> None:
    logits = logits_of((750, 250))
    report = choose(logits, share=0.5).report()
    assert list(report) == ["zero", "one"]
    assert [report[name]["share_before"] for name in report] == [0.75, 0.25]
    assert [report[name]["share"] for name in report] == [0.5, 0.5]
    confidence = probabilities(logits).max(axis=1)[logits.argmax(axis=1) == 1].mean()
    assert report["one"]["confidence"] == pytest.approx(confidence, abs=1e-4)


def test_logits_are_read_row_by_row() -> None:
    stored = np.arange(12, dtype=np.float32).reshape(4, 3)
    dataset = Dataset.from_dict({"text": list("abcd"), "teacher_logits": stored.tolist()})
    np.testing.assert_array_equal(teacher_logits(dataset), stored)


def test_probabilities_of_large_logits() -> None:
    np.testing.assert_allclose(probabilities(np.array([[1e4, 0.0], [-1e4, -1e4]])), [[1, 0], [0.5, 0.5]])
