"""Make the methods that a run's options ask for; their code is imported only when it is needed."""

from __future__ import annotations

import importlib

from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import used_methods
from zskd.methods.method import Method

# Name -> module:class. Every class takes ``options=``, the values of its dataclass in `zskd.config.methods`.
CODE = {
    "class-balance": "zskd.methods.class_balance:ClassBalance",
    "selection": "zskd.methods.selection:Selection",
    "roles": "zskd.methods.roles:Roles",
    "adversarial": "zskd.methods.adversarial.adversary:Adversarial",
    "uncertainty-mixup": "zskd.methods.uncertainty_mixup:UncertaintyMixup",
    "anchors": "zskd.methods.anchors:Anchors",
    "backward-pass": "zskd.methods.backward_pass:BackwardPass",
    "inconsistent": "zskd.methods.inconsistent:Inconsistent",
    "feature-prior": "zskd.methods.feature_prior:FeaturePrior",
    "messages": "zskd.methods.messages:Messages",
}


def make_methods(config: DistillConfig) -> list[Method]:
    """The methods of a run, in the order in which their hooks are called."""
    made: list[Method] = []
    for spec in used_methods(config):
        module, _, name = CODE[spec.name].partition(":")
        made.append(getattr(importlib.import_module(module), name)(options=config.part(spec.options)))
    return made
