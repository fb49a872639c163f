"""Options of the feature prior (see `zskd.methods.feature_prior`), their checks, and their cost in queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zskd.config import limits
from zskd.config.methods.shares import asked_rows
from zskd.config.methods.spec import MethodSpec
from zskd.config.option import option

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig

HEADS = 4  # of the encoders and of the decoder


@dataclass
class FeaturePriorOptions:
    """Options of `zskd.FeaturePrior`; neutral at ``prior_share=0`` or ``prior_weight=0``.

    Example:
        >>> FeaturePriorOptions(prior_weight=0.5).prior_width
        128
    """

    prior_share: float = option(
        0.125, "share of a batch whose states are compared with the teacher's", low=0.0, high=1.0
    )
    prior_weight: float = option(
        0.1, "weight of the squared error of the teacher's states", low=0.0, high=limits.HEAVIEST
    )
    prior_width: int = option(128, "width of the encoders and of the decoder; a multiple of 4", low=4, high=4_096)


def problems(config: DistillConfig, *, black_box: bool) -> list[str]:
    """A width that four heads cannot share."""
    return width_problems(config)


def width_problems(options: FeaturePriorOptions) -> list[str]:
    """The same of the options alone."""
    if options.prior_width % HEADS:
        return [f"--prior-width {options.prior_width}: expected a multiple of {HEADS}, the number of heads"]
    return []


def queries(config: DistillConfig) -> int:
    """Once for each row whose states are compared."""
    return asked_rows(config, config.prior_share if config.prior_weight else 0.0)


SPEC = MethodSpec(
    name="feature-prior",
    summary="a part of the teacher's states helps to predict the others, as much as is needed (DPK, Qiu et al. 2022)",
    options=FeaturePriorOptions,
    problems=problems,
    queries=queries,
    share="prior_share",
    changes=lambda config: bool(config.prior_weight),
    needs=("weights", "vocabulary"),
)
