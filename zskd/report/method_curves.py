"""Figures of what the methods of a run logged (`zskd.methods.notes`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zskd.report.data import Run
from zskd.report.figures import Series, line_figure

STEP = "optimizer step"


@dataclass(frozen=True)
class Figure:
    """A figure of a method.

    Attributes:
        title: above it.
        axis: what is drawn, with its unit.
        lines: name in the log, without the method's, and what the legend calls it.
        scale: factor of the logged numbers.
        note: below it.
    """

    title: str
    axis: str
    lines: dict[str, str]
    scale: float = 1.0
    note: str = ""


_KEPT = Figure(
    "Rows that keep their class", "rows with the teacher's class as before (%)", {"same_class": "changed rows"}, 100.0
)
FIGURES: dict[str, tuple[Figure, ...]] = {
    "selection": (Figure("Contrast of two views", "InfoNCE (nats)", {"contrast": "rows of a batch"}),),
    "roles": (_KEPT,),
    "uncertainty-mixup": (
        Figure(
            "Uncertainty of the student", "uncertainty (as --mixup-uncertainty says)",
            {"uncertainty": "all rows", "uncertainty_of_mixed": "mixed rows"},
        ),
    ),
    "anchors": (
        Figure(
            "Energy of the teacher", "energy (nats)", {"energy": "text", "energy_of_mixture": "mixture"},
            note="The lower, the surer the teacher is. The two meet as the text takes over.",
        ),
        _KEPT,
    ),
    "backward-pass": (
        Figure("Difference of both models", "squared difference of the logits", {"difference": "before the movement"}),
        _KEPT,
    ),
    "inconsistent": (
        Figure(
            "Confidence of the teacher", "probability of its class (%)",
            {"confidence": "text", "confidence_after": "changed rows"}, 100.0,
        ),
        Figure("States on changed rows", "squared error of standardised states", {"states": "all layers"}),
    ),
    "feature-prior": (
        Figure(
            "Similarity of the states", "CKA, moving mean", {"similarity": "mean states of rows"},
            note="The teacher's states stand at 1 minus this share of the positions.",
        ),
        Figure("Error of the decoded states", "squared error of standardised states", {"states": "compared rows"}),
    ),
    "messages": (
        Figure(
            "Errors of messages", "squared error",
            {"reply": "reply", "agreement": "agreement of both messages", "state": "loss of states"},
        ),
    ),
}  # fmt: skip


def method_figures(run: Run) -> list[dict[str, Any]]:
    """The figures of the run's methods; none of what was logged once or not at all."""
    figures = []
    for name in run.config.get("method", []):
        for number, figure in enumerate(FIGURES.get(name, ())):
            series = []
            for key, label in figure.lines.items():
                steps, values = run.curve(f"{name}/{key}")
                if steps:
                    series.append(Series(label, steps, [figure.scale * value for value in values]))
            if not series:
                continue
            ends = "; ".join(f"{line.label} from {line.y[0]:.3g} to {line.y[-1]:.3g}" for line in series)
            svg = line_figure(
                f"{name}-{number}", series, x=STEP, y=figure.axis, alternative=f"{name}: {figure.axis}: {ends}."
            )
            figures.append({"title": f"{figure.title} ({name})", "svg": svg, "note": figure.note})
    return figures
