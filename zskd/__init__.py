"""zskd: zero-shot knowledge distillation of text classifiers.

Importing this package is cheap: torch and transformers load with the first name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zskd.config import DistillConfig as DistillConfig
    from zskd.losses import kd_loss as kd_loss
    from zskd.tasks import TASKS as TASKS
    from zskd.tasks import Task as Task
    from zskd.training.arguments import ZeroShotArguments as ZeroShotArguments
    from zskd.training.trainer import ZeroShotTrainer as ZeroShotTrainer

__version__ = "0.1.0"

_PUBLIC = {
    "DistillConfig": "zskd.config",
    "TASKS": "zskd.tasks",
    "Task": "zskd.tasks",
    "ZeroShotArguments": "zskd.training.arguments",
    "ZeroShotTrainer": "zskd.training.trainer",
    "kd_loss": "zskd.losses",
}

__all__ = ["TASKS", "DistillConfig", "Task", "ZeroShotArguments", "ZeroShotTrainer", "__version__", "kd_loss"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'zskd' has no attribute {name!r}")
