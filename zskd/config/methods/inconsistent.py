"""Options of the inconsistent method (see `zskd.methods.inconsistent`), their checks, and their cost in queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zskd.config import limits
from zskd.config.methods.shares import asked_rows, gold_problems
from zskd.config.methods.spec import MethodSpec
from zskd.config.option import option

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig


@dataclass
class InconsistentOptions:
    """Options of `zskd.Inconsistent`; neutral at ``inconsistent_share=0``.

    Example:
        >>> InconsistentOptions(inconsistent_steps=5).inconsistent_until
        0.667
    """

    inconsistent_share: float = option(0.125, "share of a batch that is made hard for the teacher", low=0.0, high=1.0)
    inconsistent_steps: int = option(
        2, "steps of ascent on the teacher's loss, each of which asks the teacher once", low=1, high=100
    )
    inconsistent_radius: float = option(
        0.03,
        "how far each number of a word embedding may be moved, as a share of the range of the row's numbers",
        low=0.0,
        high=100.0,
    )
    inconsistent_weight: float = option(
        0.1, "weight of the squared error of the student's states on such rows", low=0.0, high=limits.HEAVIEST
    )
    inconsistent_noise: float = option(
        0.3, "probability with which a short row of them has tokens replaced by any others first", low=0.0, high=1.0
    )
    inconsistent_tokens: float = option(0.2, "share of a noisy row's tokens that are replaced", low=0.0, high=1.0)
    inconsistent_short: int = option(16, "most tokens of a row that has noise", low=0, high=limits.MOST_ROWS)
    inconsistent_until: float = option(0.667, "share of the steps after which the method is off", low=0.0, high=1.0)


def queries(config: DistillConfig) -> int:
    """Each step of ascent asks once for a row, and its label and states once more."""
    rows = asked_rows(config, config.inconsistent_share, config.inconsistent_until)
    return (config.inconsistent_steps + 1) * rows


SPEC = MethodSpec(
    name="inconsistent",
    summary="inputs that are hard for the teacher, with its states as a target there (IKD, Liang et al. 2023)",
    options=InconsistentOptions,
    problems=gold_problems,
    queries=queries,
    share="inconsistent_share",
    needs=("weights", "vocabulary"),
)
