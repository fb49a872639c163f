"""Trainer's hyperparameter search with Optuna: it can search the options of the objective."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
from conftest import tiny_bert
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_trainer import COLLATOR, rows

import zskd
from zskd.config.methods.class_balance import ClassBalanceOptions


def searching(
    folder: Path, report_to: str = "none", run_name: str | None = None, **more: object
) -> zskd.ZeroShotTrainer:
    settings = zskd.ZeroShotArguments(
        str(folder), max_steps=2, use_cpu=True, report_to=report_to, run_name=run_name, save_strategy="no",
        disable_tqdm=True,
    )  # fmt: skip
    data = rows(32)
    return zskd.ZeroShotTrainer(
        args=settings,
        model_init=lambda: tiny_bert(100, ("a", "b", "c")),
        train_dataset=data,
        eval_dataset=data,
        data_collator=COLLATOR,
        **more,
    )


def test_a_search_over_the_temperature_changes_the_loss(tmp_path: Path) -> None:
    made, found = searching(tmp_path), []

    def space(trial: optuna.Trial) -> dict[str, float]:
        return {"temperature": trial.suggest_categorical("temperature", [1.0, 4.0])}

    def loss(metrics: dict[str, float]) -> float:
        found.append((made.args.temperature, metrics["eval_loss"], made.evaluate()["eval_loss"]))
        return metrics["eval_loss"]

    best = made.hyperparameter_search(
        space, loss, n_trials=2, backend="optuna", sampler=optuna.samplers.GridSampler({"temperature": [1.0, 4.0]})
    )
    assert {temperature for temperature, _, _ in found} == {1.0, 4.0}
    assert len({round(value, 5) for _, value, _ in found}) == 2
    assert all(value == again for _, value, again in found)
    assert best.objective == min(value for _, value, _ in found)
    assert best.hyperparameters["temperature"] in (1.0, 4.0)
    assert isinstance(made.objective, float), "the name is Trainer's"


def test_agreement_can_be_searched_for_and_a_wrong_objective_is_named(tmp_path: Path) -> None:
    made = searching(tmp_path)

    def space(trial: optuna.Trial) -> dict[str, str]:
        return {"objective": trial.suggest_categorical("objective", ["logit-mse"])}

    best = made.hyperparameter_search(
        space, lambda metrics: metrics["eval_agreement"], n_trials=1, direction="maximize", backend="optuna"
    )
    assert 0.0 <= best.objective <= 1.0 and made.distillation_loss().name == "logit-mse"
    with pytest.raises(ValueError, match="objective: expected one of kd"):
        made.hyperparameter_search(
            lambda trial: {"objective": trial.suggest_categorical("objective", ["kl"])}, n_trials=1, backend="optuna"
        )


def test_a_search_with_methods_is_refused(tmp_path: Path) -> None:
    made = searching(tmp_path, methods=[zskd.ClassBalance(ClassBalanceOptions())])
    with pytest.raises(ValueError, match="methods: a method keeps what it has learned"):
        made.hyperparameter_search(lambda trial: {}, n_trials=1, backend="optuna")


def test_each_trial_is_a_run_of_its_own_in_tensorboard(tmp_path: Path) -> None:
    """`begin_trial` of `zskd.training.trials`; the other trackers: `tests/test_trackers.py`."""
    made = searching(tmp_path, report_to="tensorboard", run_name="mine")
    found: list[tuple[str | None, float]] = []

    def temperature(trial: optuna.Trial) -> dict[str, float]:
        return {"temperature": trial.suggest_float("temperature", 1.0, 8.0)}

    def score(metrics: dict[str, float]) -> float:
        found.append((made.args.run_name, made.args.temperature))
        return metrics["eval_agreement"]

    made.hyperparameter_search(temperature, score, n_trials=2, direction="maximize", backend="optuna")
    assert [name for name, _ in found] == ["mine-run-0", "mine-run-1"] and made.args.run_name == "mine"
    runs = {file.parent.name: file.parent for file in tmp_path.rglob("events.out.*")}
    assert sorted(runs) == ["run-0", "run-1"]
    for (_, value), folder in zip(found, (runs["run-0"], runs["run-1"]), strict=True):
        events = EventAccumulator(str(folder))
        events.Reload()
        (text,) = (event.tensor_proto.string_val[0] for event in events.Tensors("args/text_summary"))
        assert json.loads(text)["temperature"] == value and "eval/agreement" in events.Tags()["scalars"]
