"""The card of a Trainer's model: the score of the weights that are pushed, ordinary arguments, and no path or token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_bert
from huggingface_hub import ModelCard
from transformers import TrainerState

from zskd import ZeroShotArguments
from zskd.training.trainer_card import trainer_card


def card(folder: Path, *, best: bool, **values: Any) -> ModelCard:
    """A run of 20 steps, scored at 10 (the best), 15 and 20."""
    options: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": 5,
        "save_steps": 5,
        "load_best_model_at_end": best,
    }
    arguments = ZeroShotArguments(str(folder), use_cpu=True, temperature=2.0, hub_token="hf_secret", **options)
    state = TrainerState(global_step=20, best_global_step=10)
    state.log_history = [{"step": step, "eval_agreement": share} for step, share in ((10, 0.9), (15, 0.8), (20, 0.7))]
    return trainer_card(arguments, state, tiny_bert(20, ("bad", "good"), hidden=8), "me/small", **values)


@pytest.mark.parametrize(("best", "share", "step"), [(True, "90.0", 10), (False, "70.0", 20)])
def test_the_score_is_that_of_the_weights(best: bool, share: str, step: int, tmp_path: Path) -> None:
    text = card(tmp_path, best=best).text
    assert f"these weights (step {step}) | {share} |" in text
    assert not {"90.0", "80.0", "70.0"} - {share} & set(text.split())


def test_it_says_what_was_done_and_nothing_of_the_machine(tmp_path: Path) -> None:
    found = card(
        tmp_path, best=False, methods=["with a generator"], tags="mine", license="mit", dataset=["me/texts"],
        finetuned_from="me/start", language="en",
    )  # fmt: skip
    assert "trained with zskd" in " ".join(found.text.split()) and ", with a generator." in found.text
    assert "| temperature | 2.0 |" in found.text and "`bad`, `good`" in found.text
    assert str(tmp_path) not in str(found) and "hf_secret" not in str(found)
    data = found.data.to_dict()
    assert data["tags"] == ["knowledge-distillation", "zskd", "mine"]
    assert (data["license"], data["datasets"], data["base_model"], data["language"]) == (
        "mit", ["me/texts"], "me/start", "en",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "told", "untold"),
    [
        ({"objective": "logit-mse"}, ["| objective | logit-mse |"], ["temperature"]),
        ({"objective": "kd-pt"}, ["| objective | kd-pt at temperature 2 |", "| temperature | 2.0 |"], []),
        ({"max_steps": 20}, ["| max\\_steps | 20 |"], ["num\\_train\\_epochs"]),
        ({"num_train_epochs": 2.0}, ["| num\\_train\\_epochs | 2.0 |"], ["max\\_steps", "| optimizer |"]),
        ({"optimizer": "muon"}, ["| optimizer | muon |"], []),
    ],
    ids=["no temperature", "a temperature", "steps", "epochs", "optimizer"],
)
def test_only_arguments_with_an_effect_are_shown(
    options: dict[str, Any], told: list[str], untold: list[str], tmp_path: Path
) -> None:
    arguments = ZeroShotArguments(str(tmp_path), use_cpu=True, temperature=2.0, **options)
    text = trainer_card(arguments, TrainerState(global_step=20), tiny_bert(20, ("a", "b"), hidden=8), "me/small").text
    assert all(line in text for line in told) and not any(word in text for word in untold)
    assert "output distribution" not in text


def test_weights_of_an_earlier_step_are_said_to_be_those(tmp_path: Path) -> None:
    assert "| optimizer steps | 20; the weights are those of step 10 |" in card(tmp_path, best=True).text
    assert "| optimizer steps | 20 |" in card(tmp_path, best=False).text
