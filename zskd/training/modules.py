"""The modules that methods train beside the student: made, optimized, clipped and saved in checkpoints."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from zskd.methods.method import Method
from zskd.system.seeds import Stream, seed_of

MODULES = "modules.safetensors"  # of a method's folder in a checkpoint


class Modules:
    """The modules of all methods (`Method.modules`). All of them are made before the first use of `parameters`.

    Attributes:
        of: method's name -> name -> module, on the accelerator's device.
    """

    def __init__(self, accelerator: Accelerator, seed: int) -> None:
        self.accelerator, self.seed = accelerator, seed
        self.of: dict[str, dict[str, torch.nn.Module]] = {}
        self._rates: dict[str, float | None] = {}

    def make(self, method: Method) -> None:
        """Make a method's modules. Their random numbers depend on the run's seed and the method's name only."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(Stream.MODULES, self.seed, method.name))
            made = method.modules()
        self.of[method.name] = {name: module.to(self.accelerator.device) for name, module in made.items()}
        self._rates[method.name] = method.learning_rate

    def _weights(self, name: str) -> list[torch.nn.Parameter]:
        return [w for module in self.of[name].values() for w in module.parameters() if w.requires_grad]

    @functools.cached_property
    def parameters(self) -> list[torch.nn.Parameter]:
        """All trainable weights."""
        return [weight for name in self.of for weight in self._weights(name)]

    def groups(self) -> list[dict[str, Any]]:
        """One parameter group for the optimizer per method with weights."""
        groups = []
        for name, rate in self._rates.items():
            if weights := self._weights(name):
                groups.append({"params": weights, "weight_decay": 0.0, **({} if rate is None else {"lr": rate})})
        return groups

    def set_mode(self, training: bool, student: torch.nn.Module | None = None) -> None:
        """Set training or evaluation mode, of the student too if it is given.

        A hook must not depend on the mode that an evaluation or another method has left. Trainer sets the mode later.
        """
        modules = [module for made in self.of.values() for module in made.values()]
        for module in modules if student is None else [student, *modules]:
            if module.training != training:
                module.train(training)

    # A step

    def forget_gradients(self) -> None:
        """Clear gradients before a step; Trainer does so for the student only."""
        for weight in self.parameters:
            weight.grad = None

    def average_gradients(self) -> None:
        """Average gradients over processes. A weight without a gradient gets a zero gradient, even in one process.

        An optimizer skips weights without a gradient, so steps would otherwise differ with the number of processes.
        """
        for weight in self.parameters:
            held = torch.zeros_like(weight) if weight.grad is None else weight.grad
            weight.grad = self.accelerator.reduce(held, "mean") if self.accelerator.num_processes > 1 else held

    def clip(self, max_norm: float) -> None:
        """Clip the gradients of each method's modules apart from all others."""
        for name in self.of:
            torch.nn.utils.clip_grad_norm_(self._weights(name), max_norm)

    # Checkpoints

    def save(self, method: Method, folder: Path) -> None:
        """Write a method's modules, if it has any."""
        if modules := self.of[method.name]:
            folder.mkdir(parents=True, exist_ok=True)
            state = {
                f"{name}.{key}": value.contiguous()
                for name, module in modules.items()
                for key, value in module.state_dict().items()
            }
            save_file(state, folder / MODULES)

    def load(self, method: Method, folder: Path) -> None:
        """Restore what `save` wrote.

        Raises:
            ValueError: the method has modules, but there is no file.
        """
        if not (modules := self.of[method.name]):
            return
        if not (folder / MODULES).is_file():
            raise ValueError(
                f"{method.name}: expected its modules in {folder / MODULES}, found none; a run can be resumed only "
                "from a checkpoint of the same methods"
            )
        state = load_file(folder / MODULES)
        for name, module in modules.items():
            prefix = f"{name}."
            module.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
