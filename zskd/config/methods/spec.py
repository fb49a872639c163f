"""What is known of a method before anything loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig


class RunProblems(Protocol):
    """Finds what in a run's options does not go together with a method."""

    def __call__(self, config: DistillConfig, *, black_box: bool) -> list[str]:
        """All problems, as messages that name the flag; `black_box`: the teacher is a callable."""


def _no_problems(config: DistillConfig, *, black_box: bool) -> list[str]:
    return []


@dataclass(frozen=True)
class MethodSpec:
    """A method's name, options, needs and cost. Its code is `zskd.methods.table`'s to find.

    Attributes:
        name: as ``--method`` takes it.
        summary: one line for ``zskd ls`` and ``--help-all``.
        options: dataclass whose fields are the method's flags; `zskd.config.distillation.DistillConfig` has it as a
            base.
        asked_for: whether a run uses the method although ``--method`` does not name it.
        flag: the flag that `asked_for` looks at; empty where there is none but ``--method``.
        problems: what in a run's options does not go together with the method.
        queries: texts of ``--pool-size`` that the method asks the teacher for in place of shaped ones. May raise
            `zskd.errors.InputError`.
        use: what these queries are called in ``metrics.json``; None where there are none.
        needs: what the method cannot do without: ``weights`` of the teacher, ``corpus``, one ``vocabulary``.
    """

    name: str
    summary: str
    options: type
    asked_for: Callable[[DistillConfig], bool] = lambda config: False
    flag: str = ""
    problems: RunProblems = _no_problems
    queries: Callable[[DistillConfig], int] = lambda config: 0
    use: str | None = None
    needs: tuple[str, ...] = ()
