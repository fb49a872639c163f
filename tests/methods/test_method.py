"""What a method keeps in a checkpoint: only what a resumed run can read, and never less than it needs."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zskd.methods.method import STATE, Method

CPU = torch.device("cpu")


class Keeps(Method):
    name = "keeps"

    def __init__(self, state: Any = None) -> None:
        self.kept = state

    def state(self) -> dict[str, Any]:
        return self.kept

    def load_state(self, state: dict[str, Any]) -> None:
        self.kept = state


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"queries": 3, "why": None, "names": ["a", ("b", 2.5, True)], "more": OrderedDict({1: {"deep": "er"}})},
        torch.optim.Adam(torch.nn.Linear(2, 1).parameters()).state_dict(),
    ],
)
def test_a_state_comes_back(state: Any, tmp_path: Path) -> None:
    Keeps(state).save(tmp_path / "keeps")
    again = Keeps()
    again.load(tmp_path / "keeps", CPU)
    assert again.kept == state


def test_tensors_come_back(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 1)
    Keeps({"memory": [torch.arange(3)], "layer": layer.state_dict()}).save(tmp_path)
    again = Keeps()
    again.load(tmp_path, CPU)
    assert again.kept["memory"][0].tolist() == [0, 1, 2]
    assert torch.equal(again.kept["layer"]["weight"], layer.weight)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"rows": np.zeros(2)}, r"keeps: state\(\)\['rows'\]: expected tensors and plain values .*found ndarray"),
        ({"a": [1, {"b": np.float64(1)}]}, r"\['a'\]\[1\]\['b'\]: .*found float64"),
        (defaultdict(list), r"state\(\): .*found defaultdict"),
        ({"rng": np.random.default_rng(0)}, "found Generator"),
    ],
)
def test_what_a_resumed_run_could_not_read_is_refused_when_it_is_written(
    state: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=message):
        Keeps(state).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_without_the_methods_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"keeps: expected its state in .*{STATE}, found none; .*the same methods"):
        Keeps().load(tmp_path, CPU)


def test_a_method_without_a_state_writes_and_wants_nothing(tmp_path: Path) -> None:
    Method().save(tmp_path / "none")
    Method().load(tmp_path / "none", CPU)
    assert not list(tmp_path.iterdir())
