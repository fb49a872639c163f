"""Options are written once: a field is a flag, a YAML key and, where the Trainer takes it, an argument."""

from __future__ import annotations

import argparse
import ast
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml
from transformers import TrainingArguments

from zskd import config as package
from zskd.cli import parser
from zskd.config import shared
from zskd.config.distillation import DistillConfig, RunOptions
from zskd.config.limits import flag, limit_problems
from zskd.config.methods.table import METHODS
from zskd.config.objective_options import ObjectiveOptions
from zskd.config.optimizer_options import OptimizerOptions
from zskd.config.option import default_of
from zskd.config.resolve import resolve, to_dict
from zskd.training.arguments import ZeroShotArguments

# Written in `distill` and in another verb because they mean something else there.
OTHER_MEANING = {
    "batch_size",
    "checkpoints",
    "glue_dir",
    "learning_rate",
    "model",
    "optimizer",
    "output_dir",
    "teacher",
}


def verb(name: str) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = next(a for a in parser()._actions if isinstance(a.choices, dict)).choices[name]
    return found


@pytest.mark.parametrize("name", ["distill", "validate"])
def test_every_field_is_one_flag(name: str) -> None:
    flags = [action.option_strings[0] for action in verb(name)._actions if action.option_strings]
    for item in fields(DistillConfig):
        assert flags.count(flag(item.name)) == 1, item.name


def test_every_field_is_one_yaml_key(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump(to_dict(DistillConfig())), encoding="utf-8")
    assert list(yaml.safe_load(path.read_text(encoding="utf-8"))) != []
    assert resolve(DistillConfig, str(path), {}) == (DistillConfig(), [])
    assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) == {item.name for item in fields(DistillConfig)}


def test_every_field_says_what_it_means_and_keeps_its_own_limits() -> None:
    for item in fields(DistillConfig):
        default, meta = default_of(item), item.metadata
        assert meta["help"] and not meta["help"].endswith(".")
        assert default in meta.get("choices", [default]) or default is None
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert meta.get("low", default) <= default <= meta.get("high", default), item.name


def test_no_two_groups_of_options_share_a_name() -> None:
    groups = [RunOptions, ObjectiveOptions, *(spec.options for spec in METHODS.values())]
    assert all(issubclass(DistillConfig, group) for group in groups)
    names = [item.name for group in groups for item in fields(group)]
    assert len(names) == len(set(names))
    assert set(names) == {item.name for item in fields(DistillConfig)}


def test_trainer_arguments_are_those_of_transformers_the_objective_s_and_the_optimizer() -> None:
    own = {item.name: item for item in fields(ZeroShotArguments)}
    ours = [*fields(ObjectiveOptions), *fields(OptimizerOptions)]
    assert set(own) - {item.name for item in fields(TrainingArguments)} == {item.name for item in ours}
    assert not {item.name for item in ours} & set(dir(TrainingArguments)), "none of them is a name of Trainer's"
    for item in ours:
        assert own[item.name].default == item.default and own[item.name].metadata == item.metadata
    assert not set(RunOptions.__annotations__) & set(ObjectiveOptions.__annotations__)
    assert not ZeroShotArguments.__annotations__, "nothing is written beside the objective's options"


def options_in(source: str) -> list[tuple[str, str]]:
    """Name and kind of every field that a literal `option(...)` defines."""
    return [
        (ast.unparse(node.target), ast.unparse(node.annotation))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call)
        if ast.unparse(node.value.func) == "option"
    ]


def test_an_option_of_several_verbs_is_written_once() -> None:
    folder = Path(package.__path__[0])
    written = [found for path in sorted(folder.rglob("*.py")) for found in options_in(path.read_text(encoding="utf-8"))]
    assert len(written) > 60
    assert {name for name, kind in written if written.count((name, kind)) > 1} == OTHER_MEANING


def test_a_seed_is_one_that_numpy_takes() -> None:
    np.random.RandomState(shared.MAX_SEED)
    with pytest.raises(ValueError, match="Seed"):
        np.random.RandomState(shared.MAX_SEED + 1)
    assert limit_problems(DistillConfig(seed=shared.MAX_SEED)) == []
    (problem,) = limit_problems(DistillConfig(seed=shared.MAX_SEED + 1))
    assert problem.startswith("--seed: expected at most ")
