"""zskd: zero-shot knowledge distillation of text classifiers.

Importing this package is cheap: torch and transformers load with the first name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zskd.callbacks import AdversarialBatches as AdversarialBatches
    from zskd.callbacks import AgreementCallback as AgreementCallback
    from zskd.callbacks import CollapseStop as CollapseStop
    from zskd.callbacks import PublishCallback as PublishCallback
    from zskd.config import DistillConfig as DistillConfig
    from zskd.losses import kd_loss as kd_loss
    from zskd.models.generator import build_generator as build_generator
    from zskd.models.teacher import load_teacher as load_teacher
    from zskd.tasks import TASKS as TASKS
    from zskd.tasks import Task as Task
    from zskd.training.adversary import GradientAdversary as GradientAdversary
    from zskd.training.arguments import ZeroShotArguments as ZeroShotArguments
    from zskd.training.candidates import CandidateAdversary as CandidateAdversary
    from zskd.training.data import TransferCollator as TransferCollator
    from zskd.training.data import transfer_rows as transfer_rows
    from zskd.training.trainer import ZeroShotTrainer as ZeroShotTrainer

__version__ = "0.1.0"

_PUBLIC = {
    "AdversarialBatches": "zskd.callbacks",
    "AgreementCallback": "zskd.callbacks",
    "CandidateAdversary": "zskd.training.candidates",
    "CollapseStop": "zskd.callbacks",
    "DistillConfig": "zskd.config",
    "PublishCallback": "zskd.callbacks",
    "GradientAdversary": "zskd.training.adversary",
    "TASKS": "zskd.tasks",
    "Task": "zskd.tasks",
    "ZeroShotArguments": "zskd.training.arguments",
    "ZeroShotTrainer": "zskd.training.trainer",
    "kd_loss": "zskd.losses",
    "build_generator": "zskd.models.generator",
    "load_teacher": "zskd.models.teacher",
    "transfer_rows": "zskd.training.data",
    "TransferCollator": "zskd.training.data",
}

__all__ = [
    "TASKS",
    "AdversarialBatches",
    "AgreementCallback",
    "CandidateAdversary",
    "CollapseStop",
    "DistillConfig",
    "GradientAdversary",
    "PublishCallback",
    "Task",
    "TransferCollator",
    "ZeroShotArguments",
    "ZeroShotTrainer",
    "__version__",
    "kd_loss",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'zskd' has no attribute {name!r}")
