"""The figures of a run: training curves, divergence per round, reliability."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from markupsafe import Markup

from zskd.report.data import Run
from zskd.report.figures import Series, line_figure, reliability_figure
from zskd.runs.loss import loss_of
from zskd.system.formatting import in_percent

STEP = "optimizer step"


def _figure(title: str, svg: Markup, note: str = "") -> dict[str, Any]:
    return {"title": title, "svg": svg, "note": note}


TRAINING_ROWS = "training rows"
# Methods that leave the objective as it is.
_WITHOUT_TERMS = ("class-balance", "adversarial", "uncertainty-mixup", "anchors", "backward-pass")


def _has_terms(run: Run) -> bool:
    return any(name not in _WITHOUT_TERMS for name in run.config.get("method", []))


def _terms(run: Run) -> str:
    names = [name for name in run.config.get("method", []) if name not in _WITHOUT_TERMS]
    return f", and the terms of {', '.join(names)}" if names else ""


def training_loss(run: Run) -> tuple[str, str]:
    """What the training log's loss is: in words with all its settings, which tell losses apart, and as an axis."""
    loss = loss_of(run.config)
    return loss.words + _terms(run), loss.axis + _terms(run)


def training_figures(run: Run) -> list[dict[str, Any]]:
    """Loss on the transfer set and on held-out text, and agreement with the teacher, as far as they are logged."""
    figures = []
    best, loss = (run.metrics["best_step"], "chosen checkpoint"), loss_of(run.config)
    named = ((TRAINING_ROWS, run.curve("loss")), ("held-out text", run.curve("eval_loss")))
    series = [Series(label, *curve) for label, curve in named if curve[0]]
    # Held-out rows have no gold label, and methods add their terms in training alone: then the two do not compare.
    together = loss.gold is None and not _has_terms(run)
    for number, lines in enumerate([series] if together else [[line] for line in series]):
        if not lines:
            continue
        held = lines[0].label != TRAINING_ROWS
        ends = "; ".join(f"{line.label} from {line.y[0]:.3f} to {line.y[-1]:.3f}" for line in lines)
        axis = replace(loss, gold=None).axis if held else training_loss(run)[1]
        svg = line_figure(
            f"loss-{number}" if number else "loss",
            lines,
            x=STEP,
            y=axis,
            alternative=f"Loss, {axis}, over optimizer steps: {ends}.",
            mark=best,
        )
        figures.append(_figure("Loss" if together else f"Loss on the {lines[0].label}", svg))
    steps, agreed = run.curve("eval_agreement")
    if steps:
        svg = line_figure(
            "agreement",
            [Series("agreement", steps, [100 * value for value in agreed])],
            x=STEP,
            y="agreement with the teacher (%)",
            alternative=f"Agreement with the teacher on the selecting half of the held-out text over optimizer steps: "
            f"from {100 * agreed[0]:.1f} to {100 * agreed[-1]:.1f} percent, highest {100 * max(agreed):.1f}.",
            mark=best,
        )
        note = "On the half of the held-out text that selects the checkpoint; the results table has the other half."
        figures.append(_figure("Agreement on held-out text", svg, note))
    return figures


def _at(run: Run) -> str:
    """The temperature of the adversary's divergences, which is the run's for every objective."""
    temperature = run.config.get("temperature", 1.0)
    return "" if temperature == 1.0 else f" at T = {temperature:g}"


def adversary_figures(run: Run) -> list[dict[str, Any]]:
    """Divergence per round of an adversarial run."""
    kinds = (("before", "adversarial/divergence_before_step"), ("after", "adversarial/divergence_after_step"))
    curves = [(label, run.curve(key)) for label, key in kinds]
    series = [Series(f"{label} the generator's step", *curve) for label, curve in curves if curve[0]]
    figures = []
    if series:
        svg = line_figure(
            "divergence",
            series,
            x=f"{STEP} (end of the round)",
            y=f"KL(teacher, student){_at(run)} (nats)",
            alternative="Divergence of fresh rows per round: "
            + "; ".join(f"{line.label} from {line.y[0]:.3f} to {line.y[-1]:.3f}" for line in series)
            + ".",
        )
        note = "The same rows and noise before and after the first step of the generator in a round."
        figures.append(_figure("Divergence per round", svg, note))
    rows = (
        ("transfer set", "adversarial/loss_transfer"),
        ("fresh rows", "adversarial/loss_fresh"),
        ("replayed rows", "adversarial/loss_replayed"),
    )
    series = [Series(label, *run.curve(key)) for label, key in rows if run.curve(key)[0]]
    if series:
        ends = "; ".join(f"{line.label} from {line.y[0]:.3f} to {line.y[-1]:.3f}" for line in series)
        svg = line_figure(
            "rows",
            series,
            x=f"{STEP} (end of the round)",
            y=f"KL(teacher, student){_at(run)} (nats)",
            alternative=f"KL(teacher, student) per round by origin of the row: {ends}.",
        )
        note = "Means over the rows of a round while the student learns them, whatever the objective."
        figures.append(_figure("Divergence by origin of the row", svg, note))
    return figures


def reliability(run: Run) -> list[dict[str, Any]]:
    """A reliability diagram per evaluation set, and one for the student against the teacher's classes."""
    if run.analysis is None:
        return []
    sets = [(name, models) for name, models in run.analysis["evaluation"].items()]
    sets.append(("held-out text", {"student": run.analysis["heldout"]}))
    figures = []
    for i, (name, models) in enumerate(sets):
        series, errors = [], {}
        for who, found in models.items():
            bins = found["reliability"]["bins"]
            columns = [[entry[key] for entry in bins] for key in ("confidence", "accuracy", "rows")]
            series.append(Series(who, *columns))
            errors[who] = found["reliability"]["ece"]
        against = "the teacher's classes" if name == "held-out text" else "labels"
        words = ", ".join(f"{who} {in_percent(error)} points" for who, error in errors.items())
        svg = reliability_figure(
            f"reliability-{i}",
            series,
            alternative=f"Accuracy over confidence on {name} against {against}; expected calibration error: {words}.",
        )
        figures.append(_figure(f"{name}, against {against}", svg, f"Expected calibration error: {words}."))
    return figures
