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
    from zskd.config.distillation import DistillConfig as DistillConfig
    from zskd.methods.adversarial.candidates import CandidateAdversary as CandidateAdversary
    from zskd.methods.adversarial.generator import build_generator as build_generator
    from zskd.methods.adversarial.gradient import GradientAdversary as GradientAdversary
    from zskd.tasks.task import TASKS as TASKS
    from zskd.tasks.task import Task as Task
    from zskd.teacher.load import load_teacher as load_teacher
    from zskd.training.arguments import ZeroShotArguments as ZeroShotArguments
    from zskd.training.objective import kd_loss as kd_loss
    from zskd.training.trainer import ZeroShotTrainer as ZeroShotTrainer
    from zskd.transfer.collator import TransferCollator as TransferCollator
    from zskd.transfer.rows import transfer_rows as transfer_rows

__version__ = "0.1.0"

_PUBLIC = {
    "AdversarialBatches": "zskd.callbacks",
    "AgreementCallback": "zskd.callbacks",
    "CandidateAdversary": "zskd.methods.adversarial.candidates",
    "CollapseStop": "zskd.callbacks",
    "DistillConfig": "zskd.config.distillation",
    "PublishCallback": "zskd.callbacks",
    "GradientAdversary": "zskd.methods.adversarial.gradient",
    "TASKS": "zskd.tasks.task",
    "Task": "zskd.tasks.task",
    "ZeroShotArguments": "zskd.training.arguments",
    "ZeroShotTrainer": "zskd.training.trainer",
    "kd_loss": "zskd.training.objective",
    "build_generator": "zskd.methods.adversarial.generator",
    "load_teacher": "zskd.teacher.load",
    "transfer_rows": "zskd.transfer.rows",
    "TransferCollator": "zskd.transfer.collator",
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
