"""`MethodSpec`: everything about a method that must be known before models are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig


class RunProblems(Protocol):
    """A function that finds options of a run that do not fit a method."""

    def __call__(self, config: DistillConfig, *, black_box: bool) -> list[str]:
        """All problems, as messages that name the flag. `black_box` says that the teacher is a callable."""


def _no_problems(config: DistillConfig, *, black_box: bool) -> list[str]:
    return []


@dataclass(frozen=True)
class MethodSpec:
    """A method's name, options, needs and cost. Its code is found through `zskd.methods.table`.

    Attributes:
        name: as ``--method`` takes it.
        summary: one line for ``zskd ls`` and ``--help-all``.
        options: dataclass whose fields are the method's flags; `zskd.config.distillation.DistillConfig` has it as a
            base.
        asked_for: whether a run's other options ask for the method, even if ``--method`` does not name it.
        flag: the flag that `asked_for` depends on; empty if ``--method`` is the only way.
        problems: options of a run that do not fit the method.
        batch_problems: problems with a batch of ``--batch-size`` rows that so many processes share.
        queries: number of texts out of ``--pool-size`` that the method asks the teacher for, in place of shaped inputs.
            May raise `zskd.errors.InputError`.
        use: name of these queries in ``metrics.json``; None if there are none.
        share: name of the option that says which share of a batch the method changes by itself; empty if there is none.
        changes: whether it changes any row with the options that it has.
        needs: what the method requires: ``weights`` of the teacher, ``corpus``, one ``vocabulary``.
    """

    name: str
    summary: str
    options: type
    asked_for: Callable[[DistillConfig], bool] = lambda config: False
    flag: str = ""
    problems: RunProblems = _no_problems
    batch_problems: Callable[[DistillConfig, int], list[str]] = lambda config, processes: []
    queries: Callable[[DistillConfig], int] = lambda config: 0
    use: str | None = None
    share: str = ""
    changes: Callable[[DistillConfig], bool] = lambda config: True
    needs: tuple[str, ...] = ()
