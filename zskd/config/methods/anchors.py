"""Options of the anchors method (see `zskd.methods.anchors`), their checks, and their cost in queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zskd.config.methods.shares import asked_rows, gold_problems
from zskd.config.methods.spec import MethodSpec
from zskd.config.option import option

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig


@dataclass
class AnchorsOptions:
    """Options of `zskd.Anchors`; neutral at ``anchors_share=0``, or where text alone is read from the first step on
    (``anchors_text=1``).

    Example:
        >>> AnchorsOptions(anchors_until=0.5).anchors_text
        0.2
    """

    anchors_share: float = option(0.125, "share of a batch that is mixed with its anchors", low=0.0, high=1.0)
    anchors_steps: int = option(
        2,
        "steps down the teacher's energy that lead to an anchor, each of which asks the teacher once",
        low=1,
        high=100,
    )
    anchors_radius: float = option(
        0.5,
        "at most how far an anchor's word embeddings are from its text's on average, in lengths of word embeddings",
        low=0.0,
        high=100.0,
    )
    anchors_text: float = option(
        0.2, "share of the text in the mixture of anchor and text at the beginning of training", low=0.0, high=1.0
    )
    anchors_until: float = option(
        0.6, "share of the steps after which a mixture is the text alone, and nothing is changed", low=0.0, high=1.0
    )


def active_until(options: AnchorsOptions) -> float:
    """The share of the steps in which a mixture has a part of the anchor."""
    return 0.0 if options.anchors_text == 1.0 else options.anchors_until


def queries(config: DistillConfig) -> int:
    """Each step down the energy asks once for a row, and the label of the mixture once more."""
    return (config.anchors_steps + 1) * asked_rows(config, config.anchors_share, active_until(config))


SPEC = MethodSpec(
    name="anchors",
    summary="text is mixed with anchors that the teacher is surer of, less and less (AuG-KD, Tang et al. 2024)",
    options=AnchorsOptions,
    problems=gold_problems,
    queries=queries,
    share="anchors_share",
    changes=lambda config: active_until(config) > 0,
    needs=("weights", "vocabulary"),
)
