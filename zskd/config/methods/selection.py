"""Options of selection (see `zskd.methods.selection`) and their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zskd.config import limits
from zskd.config.methods.shares import split_problems
from zskd.config.methods.spec import MethodSpec
from zskd.config.option import option

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig

CLASSIFIERS = ("teacher", "own")


@dataclass
class SelectionOptions:
    """Options of `zskd.Selection`; neutral at ``selection_keep=1``, ``selection_classifier="own"`` and no contrast.

    Example:
        >>> SelectionOptions(selection_keep=0.5).selection_classifier
        'teacher'
    """

    selection_keep: float = option(
        0.75, "share of each class's rows, those that both models are surest of, that an epoch after the first has",
        low=0.01, high=1.0,
    )  # fmt: skip
    selection_classifier: str = option(
        "teacher",
        "output layer of the student while it trains: the teacher's behind a projector, merged at the end, or its own",
        choices=CLASSIFIERS,
    )
    selection_contrast: float = option(
        0.1, "weight of the contrast between a row and itself with another row's statistics", low=0.0,
        high=limits.HEAVIEST,
    )  # fmt: skip
    selection_contrast_temperature: float = option(0.1, "temperature of the contrast", low=0.01, high=limits.HOTTEST)


def problems(config: DistillConfig, *, black_box: bool) -> list[str]:
    """Labelled rows, whose place in an epoch the selection does not know; a teacher that shows no output layer."""
    found = []
    if black_box and config.selection_classifier == "teacher":
        found.append(
            "--method selection: expected a teacher with weights, found a callable; use --selection-classifier own"
        )
    if config.gold_labels is not None:
        found.append(
            "--gold-labels: --method selection chooses among the rows that the teacher labelled; leave out either"
        )
    return found


def batch_problems(config: DistillConfig, processes: int) -> list[str]:
    """The contrast compares the rows of a whole batch, which therefore cannot be split."""
    if not config.selection_contrast:
        return []
    why = "selection, which compares the rows of a batch; use --selection-contrast 0"
    return split_problems(config, processes, why)


SPEC = MethodSpec(
    name="selection",
    summary="rows that both models are sure of, behind the teacher's classifier (after KD^3, Tang et al. 2023)",
    options=SelectionOptions,
    problems=problems,
    batch_problems=batch_problems,
)
