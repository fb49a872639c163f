"""Which optimizer updates a student. `ZeroShotArguments`, `zskd distill` and `zskd pretrain` have this option."""

from __future__ import annotations

from dataclasses import dataclass

from zskd.config.option import option

OPTIMIZERS = ("adamw", "muon")


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
