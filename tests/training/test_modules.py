"""Modules of methods: where they start, how they are optimised and clipped, and how they come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from zskd.methods.method import Method
from zskd.training.modules import MODULES, Modules


class Trained(Method):
    """A method with a trained and a frozen module."""

    def __init__(self, name: str, rate: float | None = None, modules: bool = True) -> None:
        self.name, self.rate, self.any = name, rate, modules  # type: ignore[misc]

    @property
    def learning_rate(self) -> float | None:
        return self.rate

    def modules(self) -> dict[str, torch.nn.Module]:
        if not self.any:
            return {}
        self.projector = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5))
        self.frozen = torch.nn.Linear(4, 2).requires_grad_(False)
        return {"projector": self.projector, "frozen": self.frozen}


def made(*methods: Trained, seed: int = 0) -> Modules:
    modules = Modules(Accelerator(cpu=True), seed)
    for method in methods:
        modules.make(method)
    return modules


def test_modules_start_from_their_own_stream() -> None:
    def start(method: Trained, seed: int = 0, before: int = 5) -> list[float]:
        torch.manual_seed(before)
        state = torch.get_rng_state()
        made(method, seed=seed)
        assert torch.equal(torch.get_rng_state(), state), "nothing is taken from the global generator"
        return method.projector[0].weight.ravel().tolist()

    one = start(Trained("one"))
    assert start(Trained("one"), before=6) == one
    assert start(Trained("two")) != one and start(Trained("one"), seed=1) != one


def test_each_method_has_a_group_of_the_optimizer_with_its_learning_rate() -> None:
    fast, stock, none = Trained("fast", 0.5), Trained("stock"), Trained("none", 0.3, modules=False)
    modules = made(fast, stock, none)
    optimizer = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters(), lr=0.1, weight_decay=0.01)
    for group in modules.groups():
        optimizer.add_param_group(group)
    settings = [(group["lr"], group["weight_decay"], len(group["params"])) for group in optimizer.param_groups]
    assert settings == [(0.1, 0.01, 2), (0.5, 0.0, 2), (0.1, 0.0, 2)]
    assert [w.shape for w in modules.parameters] == [(4, 3), (4,)] * 2, "frozen ones are not trained"


def test_each_methods_gradients_are_clipped_apart() -> None:
    modules = made(Trained("large"), Trained("small"))
    large, small = modules.parameters[:2], modules.parameters[2:]
    for weights, size in ((large, 1e3), (small, 1e-3)):
        for weight in weights:
            weight.grad = torch.full_like(weight, size)
    modules.clip(1.0)
    assert torch.cat([weight.grad.ravel() for weight in large]).norm().item() == pytest.approx(1.0, rel=1e-4)
    assert all((weight.grad == 1e-3).all() for weight in small)


def test_a_weight_that_is_not_used_has_a_gradient_of_zero_in_one_process_too() -> None:
    modules = made(Trained("one"))
    first, second = modules.parameters
    first.grad = torch.ones_like(first)
    modules.average_gradients()
    assert (first.grad == 1).all() and (second.grad == 0).all()
    modules.forget_gradients()
    assert first.grad is None and second.grad is None


def test_gradients_are_averaged_over_processes() -> None:
    asked: list[Any] = []

    class Two:
        num_processes, device = 2, torch.device("cpu")

        def reduce(self, tensor: torch.Tensor, reduction: str) -> torch.Tensor:
            asked.append(reduction)
            return tensor / 2  # the other process has zeros

    modules = Modules(Two(), 0)  # type: ignore[arg-type]
    modules.make(Trained("one"))
    modules.parameters[0].grad = torch.ones(4, 3)
    modules.average_gradients()
    assert (
        asked == ["mean"] * 2 and (modules.parameters[0].grad == 0.5).all() and (modules.parameters[1].grad == 0).all()
    )


def test_modes_are_set_whatever_they_were() -> None:
    method, student = Trained("one"), torch.nn.Dropout()
    modules = made(method)
    modules.set_mode(False, student)
    assert not (method.projector.training or method.projector[1].training or student.training)
    modules.set_mode(True)
    assert method.projector[1].training and not student.training


def test_modules_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    one, none, other = Trained("one"), Trained("none", modules=False), Trained("one")
    modules = made(one, none)
    with torch.no_grad():
        one.projector[0].weight.fill_(3.0)
        one.frozen.bias.fill_(4.0)
    for method in (one, none):
        modules.save(method, tmp_path / method.name)
    assert [path.name for path in tmp_path.rglob("*")] == ["one", MODULES]
    again = made(other, none)
    again.load(other, tmp_path / "one")
    again.load(none, tmp_path / "none")
    assert (other.projector[0].weight == 3).all() and (other.frozen.bias == 4).all()
    with pytest.raises(ValueError, match=r"one: expected its modules in .*elsewhere.*, found none"):
        again.load(other, tmp_path / "elsewhere")
