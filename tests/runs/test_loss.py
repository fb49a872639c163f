"""A loss has its own unit, and two losses are alike only if all that they depend on is."""

from __future__ import annotations

from typing import Any

import pytest

from zskd.config.objective_options import OBJECTIVES
from zskd.runs.loss import loss_of


@pytest.mark.parametrize(
    ("config", "words", "axis"),
    [
        ({}, "kd at temperature 1", "kd: KL (nats)"),
        ({"objective": None, "temperature": 2.0}, "kd at temperature 2", "kd: T² KL at T = 2 (nats)"),
        ({"objective": "logit-mse", "temperature": 2.0}, "logit-mse", "logit-mse: squared difference of logits"),
        ({"objective": "hard-label", "temperature": 4.0}, "hard-label", "hard-label: cross-entropy (nats)"),
        (
            {"objective": "label-smoothing", "smoothing": 0.2},
            "label-smoothing, smoothing 0.2",
            "label-smoothing: KL (nats)",
        ),
        (
            {"objective": "kd-topk", "temperature": 1.0, "top_k": 2},
            "kd-topk at temperature 1, top k 2",
            "kd-topk: KL (nats)",
        ),
        (
            {"gold_labels": "train.tsv", "gold_weight": 0.5},
            "kd at temperature 1, with cross-entropy of gold labels at weight 0.5",
            "kd: KL (nats), with gold labels",
        ),
        (
            {"objective": "logit-mse", "gold_labels": "train.tsv", "gold_weight": 0.5},
            "logit-mse, with cross-entropy of gold labels at weight 0.5",
            "logit-mse: squared difference of logits, with cross-entropy",
        ),
    ],
)
def test_words_and_axis(config: dict[str, Any], words: str, axis: str) -> None:
    loss = loss_of(config)
    assert (loss.words, loss.axis) == (words, axis)


def test_only_a_divergence_is_in_nats() -> None:
    assert [name for name in OBJECTIVES if "nats" not in loss_of({"objective": name}).axis] == ["logit-mse"]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"temperature": 1.0}, {"temperature": 2.0}, False),
        ({"objective": "logit-mse", "temperature": 1.0}, {"objective": "logit-mse", "temperature": 2.0}, True),
        ({"objective": "kd"}, {}, True),
        ({"objective": "label-smoothing", "smoothing": 0.1}, {"objective": "label-smoothing", "smoothing": 0.2}, False),
        ({"objective": "kd", "smoothing": 0.1}, {"objective": "kd", "smoothing": 0.2}, True),
        ({"gold_labels": "a.tsv", "gold_weight": 0.5}, {"gold_weight": 0.5}, False),
        ({"gold_labels": "a.tsv", "gold_weight": 0.5}, {"gold_labels": "a.tsv", "gold_weight": 0.1}, False),
    ],
)
def test_alike(one: dict[str, Any], other: dict[str, Any], alike: bool) -> None:
    assert (loss_of(one) == loss_of(other)) == alike
