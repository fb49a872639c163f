"""All methods by name, in the order in which their hooks are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zskd.config.methods import adversarial, class_balance
from zskd.config.methods.spec import MethodSpec

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig

METHODS: dict[str, MethodSpec] = {spec.name: spec for spec in (class_balance.SPEC, adversarial.SPEC)}


def used_methods(config: DistillConfig) -> list[MethodSpec]:
    """The methods of a run, in the table's order: those that ``--method`` names, or that their own options ask for."""
    return [spec for spec in METHODS.values() if spec.name in config.method or spec.asked_for(config)]


def method_queries(config: DistillConfig) -> int:
    """Texts of ``config.pool_size`` that the run's methods ask the teacher for.

    Raises:
        InputError: they leave too little for the transfer set.
    """
    return sum(spec.queries(config) for spec in used_methods(config))
