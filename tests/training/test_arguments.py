"""Trainer's arguments: the objective's limits hold, and nothing but a finished model is pushed."""

from __future__ import annotations

import copy
from dataclasses import fields
from pathlib import Path

import pytest

from zskd import ZeroShotArguments
from zskd.config.objective_options import ObjectiveOptions


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"temperature": 0.0}, "temperature: expected at least 0.01, found 0.0"),
        ({"objective": "kdd"}, "objective: expected one of kd, "),
        ({"smoothing": 1.5, "top_k": 0}, "top_k: expected at least 1, found 0; smoothing: expected at most 1.0"),
    ],
)
def test_an_option_beyond_its_limits_is_refused_by_its_name(values: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        ZeroShotArguments(str(tmp_path), use_cpu=True, **values)


def test_options_of_the_objective_have_their_defaults_and_reach_it(tmp_path: Path) -> None:
    made = ZeroShotArguments(str(tmp_path), use_cpu=True, temperature=3.0)
    for item in fields(ObjectiveOptions):
        assert getattr(made, item.name) == (3.0 if item.name == "temperature" else item.default)
    assert made.label_names == ["teacher_logits"] and made.remove_unused_columns is False
    assert copy.deepcopy(made).to_dict() == made.to_dict()


@pytest.mark.parametrize("private", [None, True, False])
def test_a_repository_is_private_unless_somebody_says_otherwise(private: bool | None, tmp_path: Path) -> None:
    made = ZeroShotArguments(str(tmp_path), use_cpu=True, push_to_hub=True, hub_private_repo=private)
    assert made.hub_private_repo is (private is not False) and made.hub_strategy == "end"


@pytest.mark.parametrize("strategy", ["checkpoint", "all_checkpoints"])
def test_checkpoints_are_not_pushed(strategy: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"hub_strategy: expected 'end', found '{strategy}'"):
        ZeroShotArguments(str(tmp_path), use_cpu=True, push_to_hub=True, hub_strategy=strategy)
    assert ZeroShotArguments(str(tmp_path), use_cpu=True, hub_strategy=strategy).hub_strategy == "end"
