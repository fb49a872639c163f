"""Options of uncertainty mixup (see `zskd.methods.uncertainty_mixup`), their checks, and their cost in queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zskd.config import limits
from zskd.config.methods.shares import asked_rows, gold_problems, share_problems, split_problems
from zskd.config.methods.spec import MethodSpec
from zskd.config.option import option

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig

UNCERTAINTIES = ("entropy", "margin", "confidence")


@dataclass
class UncertaintyMixupOptions:
    """Options of `zskd.UncertaintyMixup`; neutral at ``mixup_share=0``.

    Example:
        >>> UncertaintyMixupOptions(mixup_share=0.75).mixup_steepness
        10.0
    """

    mixup_share: float = option(
        0.125, "share of a batch, the rows that the student is least sure of, that is mixed", low=0.0, high=1.0
    )
    mixup_steepness: float = option(
        10.0, "how fast a row's part in its mixture falls as the student is surer of it", low=0.0, high=limits.HEAVIEST
    )
    mixup_uncertainty: str = option(
        "entropy",
        "how sure the student is: by the entropy of its probabilities, the margin between the first two, or the first",
        choices=UNCERTAINTIES,
    )


def batch_problems(config: DistillConfig, processes: int) -> list[str]:
    """Rows are ranked and mixed within a whole batch, which therefore cannot be split."""
    if not config.mixup_share:
        return []
    found = share_problems(config, {"mixup_share": config.mixup_share})
    return found + split_problems(config, processes, "uncertainty-mixup, which ranks a whole batch")


SPEC = MethodSpec(
    name="uncertainty-mixup",
    summary="rows that the student is unsure of are mixed with others, and the teacher asked (UNIX, Xu et al. 2020)",
    options=UncertaintyMixupOptions,
    problems=gold_problems,
    batch_problems=batch_problems,
    queries=lambda config: asked_rows(config, config.mixup_share),
    needs=("weights", "vocabulary"),
)
