"""zskd: zero-shot knowledge distillation of text classifiers.

`zskd.distill` is the whole walk; `ZeroShotTrainer`, the methods and the callbacks are for programs of one's own.
Importing this package is cheap: torch and transformers load with the first name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zskd.callbacks import AgreementCallback as AgreementCallback
    from zskd.callbacks import PublishCallback as PublishCallback
    from zskd.config.distillation import DistillConfig as DistillConfig
    from zskd.config.methods.adversarial import AdversarialOptions as AdversarialOptions
    from zskd.config.methods.anchors import AnchorsOptions as AnchorsOptions
    from zskd.config.methods.backward_pass import BackwardPassOptions as BackwardPassOptions
    from zskd.config.methods.class_balance import ClassBalanceOptions as ClassBalanceOptions
    from zskd.config.methods.feature_prior import FeaturePriorOptions as FeaturePriorOptions
    from zskd.config.methods.inconsistent import InconsistentOptions as InconsistentOptions
    from zskd.config.methods.messages import MessagesOptions as MessagesOptions
    from zskd.config.methods.roles import RolesOptions as RolesOptions
    from zskd.config.methods.selection import SelectionOptions as SelectionOptions
    from zskd.config.methods.uncertainty_mixup import UncertaintyMixupOptions as UncertaintyMixupOptions
    from zskd.config.objective_options import ObjectiveOptions as ObjectiveOptions
    from zskd.errors import InputError as InputError
    from zskd.errors import RunError as RunError
    from zskd.errors import ZskdError as ZskdError
    from zskd.methods.adversarial.adversary import Adversarial as Adversarial
    from zskd.methods.adversarial.batches import AdversarialBatches as AdversarialBatches
    from zskd.methods.adversarial.candidates import CandidateAdversary as CandidateAdversary
    from zskd.methods.adversarial.collapse import CollapseStop as CollapseStop
    from zskd.methods.adversarial.generator import build_generator as build_generator
    from zskd.methods.adversarial.gradient import GradientAdversary as GradientAdversary
    from zskd.methods.anchors import Anchors as Anchors
    from zskd.methods.backward_pass import BackwardPass as BackwardPass
    from zskd.methods.class_balance import ClassBalance as ClassBalance
    from zskd.methods.context import Run as Run
    from zskd.methods.context import StudentOutput as StudentOutput
    from zskd.methods.context import Training as Training
    from zskd.methods.feature_prior import FeaturePrior as FeaturePrior
    from zskd.methods.inconsistent import Inconsistent as Inconsistent
    from zskd.methods.messages import Messages as Messages
    from zskd.methods.method import Method as Method
    from zskd.methods.roles import Roles as Roles
    from zskd.methods.selection import Selection as Selection
    from zskd.methods.step import Step as Step
    from zskd.methods.uncertainty_mixup import UncertaintyMixup as UncertaintyMixup
    from zskd.pipeline import Result as Result
    from zskd.pipeline import distill as distill
    from zskd.tasks.task import TASKS as TASKS
    from zskd.tasks.task import Task as Task
    from zskd.tasks.task import find_task as find_task
    from zskd.teacher.base import Teacher as Teacher
    from zskd.teacher.live import LiveTeacher as LiveTeacher
    from zskd.teacher.load import load_teacher as load_teacher
    from zskd.training.arguments import ZeroShotArguments as ZeroShotArguments
    from zskd.training.objective import Objective as Objective
    from zskd.training.objective import kd_loss as kd_loss
    from zskd.training.targets import class_cosines as class_cosines
    from zskd.training.trainer import ZeroShotTrainer as ZeroShotTrainer
    from zskd.transfer.collator import TransferCollator as TransferCollator
    from zskd.transfer.rows import transfer_rows as transfer_rows
    from zskd.transfer.transfer_set import TransferSet as TransferSet

__version__ = "0.1.0"

# Where each public name is defined.
_PUBLIC = {
    "Adversarial": "zskd.methods.adversarial.adversary",
    "AdversarialBatches": "zskd.methods.adversarial.batches",
    "AdversarialOptions": "zskd.config.methods.adversarial",
    "AgreementCallback": "zskd.callbacks",
    "Anchors": "zskd.methods.anchors",
    "AnchorsOptions": "zskd.config.methods.anchors",
    "BackwardPass": "zskd.methods.backward_pass",
    "BackwardPassOptions": "zskd.config.methods.backward_pass",
    "CandidateAdversary": "zskd.methods.adversarial.candidates",
    "ClassBalance": "zskd.methods.class_balance",
    "ClassBalanceOptions": "zskd.config.methods.class_balance",
    "CollapseStop": "zskd.methods.adversarial.collapse",
    "DistillConfig": "zskd.config.distillation",
    "FeaturePrior": "zskd.methods.feature_prior",
    "FeaturePriorOptions": "zskd.config.methods.feature_prior",
    "GradientAdversary": "zskd.methods.adversarial.gradient",
    "Inconsistent": "zskd.methods.inconsistent",
    "InconsistentOptions": "zskd.config.methods.inconsistent",
    "InputError": "zskd.errors",
    "LiveTeacher": "zskd.teacher.live",
    "Messages": "zskd.methods.messages",
    "MessagesOptions": "zskd.config.methods.messages",
    "Method": "zskd.methods.method",
    "Objective": "zskd.training.objective",
    "ObjectiveOptions": "zskd.config.objective_options",
    "PublishCallback": "zskd.callbacks",
    "Result": "zskd.pipeline",
    "Roles": "zskd.methods.roles",
    "RolesOptions": "zskd.config.methods.roles",
    "Run": "zskd.methods.context",
    "RunError": "zskd.errors",
    "Selection": "zskd.methods.selection",
    "SelectionOptions": "zskd.config.methods.selection",
    "Step": "zskd.methods.step",
    "StudentOutput": "zskd.methods.context",
    "TASKS": "zskd.tasks.task",
    "Task": "zskd.tasks.task",
    "Teacher": "zskd.teacher.base",
    "Training": "zskd.methods.context",
    "TransferCollator": "zskd.transfer.collator",
    "TransferSet": "zskd.transfer.transfer_set",
    "UncertaintyMixup": "zskd.methods.uncertainty_mixup",
    "UncertaintyMixupOptions": "zskd.config.methods.uncertainty_mixup",
    "ZeroShotArguments": "zskd.training.arguments",
    "ZeroShotTrainer": "zskd.training.trainer",
    "ZskdError": "zskd.errors",
    "build_generator": "zskd.methods.adversarial.generator",
    "class_cosines": "zskd.training.targets",
    "distill": "zskd.pipeline",
    "find_task": "zskd.tasks.task",
    "kd_loss": "zskd.training.objective",
    "load_teacher": "zskd.teacher.load",
    "transfer_rows": "zskd.transfer.rows",
}

__all__ = [
    "TASKS",
    "Adversarial",
    "AdversarialBatches",
    "AdversarialOptions",
    "AgreementCallback",
    "Anchors",
    "AnchorsOptions",
    "BackwardPass",
    "BackwardPassOptions",
    "CandidateAdversary",
    "ClassBalance",
    "ClassBalanceOptions",
    "CollapseStop",
    "DistillConfig",
    "FeaturePrior",
    "FeaturePriorOptions",
    "GradientAdversary",
    "Inconsistent",
    "InconsistentOptions",
    "InputError",
    "LiveTeacher",
    "Messages",
    "MessagesOptions",
    "Method",
    "Objective",
    "ObjectiveOptions",
    "PublishCallback",
    "Result",
    "Roles",
    "RolesOptions",
    "Run",
    "RunError",
    "Selection",
    "SelectionOptions",
    "Step",
    "StudentOutput",
    "Task",
    "Teacher",
    "Training",
    "TransferCollator",
    "TransferSet",
    "UncertaintyMixup",
    "UncertaintyMixupOptions",
    "ZeroShotArguments",
    "ZeroShotTrainer",
    "ZskdError",
    "__version__",
    "build_generator",
    "class_cosines",
    "distill",
    "find_task",
    "kd_loss",
    "load_teacher",
    "transfer_rows",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        importlib.import_module("zskd.system.progress")  # before the libraries that have bars
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'zskd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
