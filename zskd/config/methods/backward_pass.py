"""Options of the backward-pass method (see `zskd.methods.backward_pass`), their checks, and their cost in queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zskd.config.methods.shares import asked_rows, gold_problems
from zskd.config.methods.spec import MethodSpec
from zskd.config.option import option

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig


@dataclass
class BackwardPassOptions:
    """Options of `zskd.BackwardPass`; neutral at ``backward_share=0``.

    Example:
        >>> BackwardPassOptions(backward_steps=3).backward_share
        0.125
    """

    backward_share: float = option(
        0.125, "share of a batch that is moved to where the models differ", low=0.0, high=1.0
    )
    backward_steps: int = option(1, "steps of ascent, each of which asks the teacher once", low=1, high=100)
    backward_radius: float = option(
        0.1, "at most how far a word embedding is moved on average, in lengths of word embeddings", low=0.0, high=100.0
    )


def queries(config: DistillConfig) -> int:
    """Each step of ascent asks once for a row, and its label once more."""
    return (config.backward_steps + 1) * asked_rows(config, config.backward_share)


SPEC = MethodSpec(
    name="backward-pass",
    summary="inputs are moved to where teacher and student differ more (Jafari et al. 2023)",
    options=BackwardPassOptions,
    problems=gold_problems,
    queries=queries,
    share="backward_share",
    needs=("weights", "vocabulary"),
)
