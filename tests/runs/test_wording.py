"""What report, card and closing table say of a run's data is what happened in that run."""

from __future__ import annotations

from typing import Any

import pytest

from zskd.runs.wording import GATE, GOLD, class_shares, opened, query_words


def metrics(scores: dict[str, int], before: list[str], after: list[str], **more: Any) -> dict[str, Any]:
    """Metrics of a run with evaluation sets of some rows, as far as they are read."""
    return {
        "student": {"scores": {name: {"rows": rows} for name, rows in scores.items()}},
        "zero_shot": {"read_before_training": before, "read_after_training": after},
        **more,
    }


@pytest.mark.parametrize(
    ("found", "config", "before", "after"),
    [
        (metrics({}, [], []), {}, [], []),
        (
            metrics({"probe": 228}, [GATE], ["probe"]),
            {},
            ["probe (228 rows; can refuse a teacher, and changes nothing else)"],
            ["probe (228 rows; the student's score)"],
        ),
        (  # an older version did not name the probe, although the student was scored on it
            metrics({"probe": 228}, [GATE], []),
            {},
            ["probe (228 rows; can refuse a teacher, and changes nothing else)"],
            ["probe (228 rows; the student's score)"],
        ),
        (
            metrics({"glue": 1872}, [], ["glue"]),
            {},
            [],
            ["glue (1,872 rows; the scores of teacher and student)"],
        ),
        (
            metrics({}, [GOLD], [], teacher_queries_for={"gold_rows": 40}),
            {"gold_labels": "train.tsv"},
            ["gold labels (40 rows; the student was trained on them)"],
            [],
        ),
    ],
    ids=["no labelled data", "probe alone", "an older run", "evaluation alone", "gold labels"],
)
def test_labelled_data_that_was_opened(
    found: dict[str, Any], config: dict[str, Any], before: list[str], after: list[str]
) -> None:
    told = opened(found, config)
    assert ([str(one) for one in told.before], [str(one) for one in told.after]) == (before, after)


def test_queries_are_split_by_what_they_were_for() -> None:
    split = {"transfer_inputs": 6000, "held_out_inputs": 370, "gold_rows": 0, "single_tokens": 30522, "generator": 0}
    assert query_words({"teacher_queries": 36892, "teacher_queries_for": split}) == (
        "36,892: 6,000 inputs of the transfer set, 370 held-out inputs, 30,522 single tokens for the student's start"
    )
    repeating = {"teacher_queries": 35892, "teacher_queries_repeated": 1000, "teacher_queries_for": split}
    assert query_words(repeating) == (
        "35,892: 6,000 inputs of the transfer set, 370 held-out inputs, 30,522 single tokens for the student's start, "
        "less 1,000 that repeat another of their pool"
    )
    own = {"teacher_queries": 9, "teacher_queries_for": {"transfer_inputs": 5, "my-method": 4}}
    assert query_words(own) == "9: 5 inputs of the transfer set, 4 my-method"
    older = {"teacher_queries": 7, "teacher_queries_by_use": {"texts": 4, "single_tokens": 3, "generator": 0}}
    assert query_words(older) == "7: 4 inputs, 3 single tokens for the student's start"
    assert query_words({"teacher_queries": 7}) == "7"


def test_classes_are_named_as_labelled_and_as_trained_on() -> None:
    repeated = {"negative": {"share_before": 0.67, "share": 0.5}, "positive": {"share_before": 0.33, "share": 0.5}}
    assert class_shares(repeated) == (
        "as labelled negative 67.0 %, positive 33.0 %; as trained on negative 50.0 %, positive 50.0 %"
    )
    same = {"a": {"share_before": 0.9996, "share": 0.9996}, "b": {"share_before": 0.0004, "share": 0.0004}}
    assert class_shares(same) == "as labelled and as trained on a 99.96 %, b 0.04 %"
    assert class_shares({"a": {"share": 0.5}, "b": {"share": 0.5}}) == "as trained on a 50.0 %, b 50.0 %"
