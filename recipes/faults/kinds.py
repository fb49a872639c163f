"""The kinds of faults: how many cases each has, and the module that draws them."""

from __future__ import annotations

import importlib
import random
from dataclasses import dataclass

from recipes.faults.case import Case


@dataclass(frozen=True)
class Kind:
    """A kind of faults.

    Attributes:
        name: as ``--kinds`` takes it.
        title: as the table has it.
        count: number of cases.
        module: below `recipes.faults`; its function ``cases(count, rng)`` draws `count` different ones.
        function: of the module, where it has several kinds.
    """

    name: str
    title: str
    count: int
    module: str
    function: str = "cases"

    def cases(self, seed: int) -> list[Case]:
        """All cases of a seed."""
        draw = getattr(importlib.import_module(f"recipes.faults.{self.module}"), self.function)
        found: list[Case] = draw(self.count, random.Random(f"{seed} {self.name}"))
        names = [case.name for case in found]
        assert len(found) == self.count and len(set(names)) == len(names), (self.name, len(found), len(set(names)))
        return found


KINDS = (
    Kind("kills-random", "kills, random", 60, "kills", "random_cases"),
    Kind("kills-adversarial", "kills, adversarial", 60, "kills", "adversarial_cases"),
    Kind("signals", "signals", 12, "signals"),
    Kind("caches", "cache damage", 90, "caches"),
    Kind("checkpoints", "checkpoint damage", 40, "checkpoints"),
    Kind("disks", "full or read-only", 25, "disks"),
    Kind("flags", "flags", 150, "flags"),
    Kind("files", "YAML and task files", 120, "files"),
    Kind("models", "model folders", 100, "models"),
    Kind("corpora", "corpora and labelled files", 70, "corpora"),
    Kind("hostile", "hostile folders", 60, "hostile"),
)
