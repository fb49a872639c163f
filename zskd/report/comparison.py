"""Several runs side by side: means and spreads over seeds, and curves on common axes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from zskd.report import diagnosis_section
from zskd.report.curves import training_loss
from zskd.report.data import Group, Run
from zskd.report.facts import in_domain
from zskd.report.figures import Series, line_figure

_SHOWN = {"analysis.json", "history.json"}  # files that older versions did not write, and that a comparison shows
Spread = tuple[float, float | None]


def spread(values: Iterable[float | None]) -> Spread | None:
    """Mean and sample standard deviation (None for one value); None where a value is missing."""
    known = list(values)
    if not known or any(value is None for value in known):
        return None
    numbers = [value for value in known if value is not None]
    return statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None


def content(groups: list[Group]) -> dict[str, Any]:
    """Values for the comparison's template."""
    return {
        "groups": groups,
        "in_domain": [run.name for group in groups for run in group.runs if in_domain(run)],
        "runs": [run for group in groups for run in group.runs],
        "rows": [row for group in groups for row in score_rows(group)],
        "sizes": [size_row(group) for group in groups],
        "diagnoses": diagnosis_section.comparison(groups),
        "panels": panels(groups),
        "missing": [
            (run.name, files)
            for group in groups
            for run in group.runs
            if (files := sorted(_SHOWN.intersection(run.missing)))
        ],
    }


def score_rows(group: Group) -> list[dict[str, Any]]:
    """A row per evaluation set, over the runs of the group that have it."""
    names = dict.fromkeys(name for run in group.runs for name in run.metrics["student"]["scores"])
    rows = []
    for name in names:
        runs = [run for run in group.runs if name in run.metrics["student"]["scores"]]
        scores = [(run.metrics["teacher"]["scores"][name], run.metrics["student"]["scores"][name]) for run in runs]
        rows.append(
            {
                "group": group.name,
                "differs": group.differs,
                "set": name,
                "rows": scores[0][1]["rows"],
                "runs": _counted(runs),
                "majority": spread(student["majority"] for _, student in scores),
                "teacher": spread(teacher["accuracy"] for teacher, _ in scores),
                "student": spread(student["accuracy"] for _, student in scores),
                "kept": spread(run.metrics["retention"][name] for run in runs),
                "above": spread(run.metrics["retention_above_chance"][name] for run in runs),
            }
        )
    return rows


def _counted(runs: Sequence[Run]) -> str:
    """How many runs a mean is of: their seeds, the runs too where a seed was run more than once, and a shared pool."""
    seeds = len({run.metrics["seed"] for run in runs})
    words = f"{seeds} seed{'s' if seeds > 1 else ''}"
    if seeds > 1 and len(pools := {run.config.get("pool_seed") for run in runs}) == 1 and None not in pools:
        words += f" on the inputs of seed {pools.pop()}"
    return words if seeds == len(runs) else f"{len(runs)} runs of {words}"


def _line_names(runs: Sequence[Run]) -> list[str]:
    """Names of the runs' lines in one figure: their seeds, and the folders where seeds do not tell them apart."""
    seeds = [run.metrics["seed"] for run in runs]
    several = len(set(seeds)) < len(seeds)
    return [f"seed {seed}, {run.name}" if several else f"seed {seed}" for seed, run in zip(seeds, runs, strict=True)]


def _latency(run: Run, who: str) -> float | None:
    found = ((run.analysis or {}).get("latency") or {}).get(who)
    return None if found is None else float(found["milliseconds"])


def size_row(group: Group) -> dict[str, Any]:
    """Agreement, size and latency of a group."""
    metrics = [run.metrics for run in group.runs]
    return {
        "group": group.name,
        "agreement": spread(entry["agreement"] for entry in metrics),
        "agreement_above": spread(entry.get("agreement_above_chance") for entry in metrics),
        "teacher_parameters": metrics[0]["teacher"]["parameters"],
        "student_parameters": metrics[0]["student"]["parameters"],
        "student_mb": spread(None if run.student_bytes is None else run.student_bytes / 1e6 for run in group.runs),
        "teacher_ms": spread(_latency(run, "teacher") for run in group.runs),
        "student_ms": spread(_latency(run, "student") for run in group.runs),
        "minutes": spread(entry["seconds"]["total"] / 60 for entry in metrics),
    }


AGREEMENT = "Agreement on held-out text, the half that chooses the checkpoint"


def panels(groups: list[Group]) -> list[dict[str, Any]]:
    """Small multiples, a figure per group: agreement, and the training loss.

    Figures of a panel share their vertical axis. Groups with different losses have a panel for each loss, because their
    numbers do not compare.
    """
    losses: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        losses.setdefault(training_loss(group.runs[0]), []).append(group)
    several = "These runs have other losses than those of the other panels, so the numbers do not compare."
    found = [_panel(0, "eval_agreement", 100.0, "agreement (%)", AGREEMENT, "", groups)]
    for number, ((words, axis), alike) in enumerate(losses.items(), start=1):
        title, note = (f"Training loss: {words}", several) if len(losses) > 1 else ("Training loss", "")
        found.append(_panel(number, "loss", 1.0, axis, title, note, alike))
    return [panel for panel in found if panel is not None]


def _panel(
    number: int, key: str, factor: float, label: str, title: str, note: str, groups: list[Group]
) -> dict[str, Any] | None:
    """Curves of a key of the log, a figure per group, on one vertical axis; None if no run has them."""
    curves = {
        group.name: [
            (run, steps, [factor * value for value in values])
            for run in group.runs
            for steps, values in [run.curve(key)]
            if steps
        ]
        for group in groups
    }
    values = [value for lines in curves.values() for _, _, line in lines for value in line]
    if not values:
        return None
    margin = 0.05 * (max(values) - min(values)) or 0.05 * abs(values[0]) or 1.0
    # Agreement ends at 100 %; a little room keeps the line off the edge.
    top = min(max(values) + margin, 100.5) if factor == 100 else max(values) + margin
    figures = []
    for i, group in enumerate(groups):
        if not (lines := curves[group.name]):
            continue
        named = list(zip(_line_names([run for run, _, _ in lines]), lines, strict=True))
        ends = "; ".join(f"{name} from {line[0]:.3g} to {line[-1]:.3g}" for name, (_, _, line) in named)
        svg = line_figure(
            f"panel-{number}-{i}",
            [Series(name, steps, line) for name, (_, steps, line) in named],
            x="optimizer step",
            y=label,
            alternative=f"{title}, {group.name}, {label}: {ends}.",
            limits=(min(values) - margin, top),
            small=True,
        )
        figures.append({"title": group.name, "svg": svg})
    return {"title": title, "note": note, "figures": figures}
