"""Which optimizer updates a student. `ZeroShotArguments`, `zskd distill` and `zskd pretrain` have this option."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass

from zskd.config.limits import flag
from zskd.config.option import option

OPTIMIZERS = ("adamw", "muon")
MUON_SINCE = (2, 9)  # PyTorch


@dataclass
class OptimizerOptions:
    """The optimizer (see `zskd.training.optimizer`).

    Example:
        >>> OptimizerOptions().optimizer
        'adamw'
    """

    optimizer: str = option(
        "adamw",
        "adamw for all weights, or muon for the matrices of the layers and adamw for the others, at one learning rate "
        "and weight decay",
        choices=OPTIMIZERS,
        group="training",
    )


def optimizer_problems(optimizer: str, *, shown: Callable[[str], str] = flag) -> list[str]:
    """Why an optimizer cannot be used here: an older PyTorch has no Muon.

    Args:
        shown: function from a field's name to the option's name in messages.
    """
    version = importlib.metadata.version("torch")
    if optimizer != "muon" or tuple(int(part) for part in version.split(".")[:2]) >= MUON_SINCE:
        return []
    least = ".".join(map(str, MUON_SINCE))
    return [
        f"{shown('optimizer')} muon: expected PyTorch {least} or later, found {version}; install a later one, or use "
        "adamw"
    ]
