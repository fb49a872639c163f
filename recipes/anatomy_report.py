"""Claims, table and figures from the kept numbers of `recipes.kd_anatomy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from zskd.system.files import write_text

LEVEL = 0.95
CONDITIONS = ("teacher", "none", "label-smoothing", "kd-pt", "kd-sim", "kd-sim permuted", "kd-topk", "kd-pt+sim", "kd")


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and Student's 95 % interval of numbers ``(seeds,)``; the mean alone where there is one seed."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def claims(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The paper's claims, each with the difference it is about: mean and interval over seeds, paired by seed.

    Accuracies are first averaged over similarities, cosines too.

    Returns:
        Per claim ``claim``, ``unit``, ``mean``, ``low``, ``high`` and ``verdict``: ``agrees`` where the whole interval
        is above 0, ``disagrees`` where it is below, else ``not shown``.
    """

    def mean_accuracy(name: str) -> np.ndarray:
        return np.mean([100 * np.array(part["accuracy"][name]) for part in content["similarities"]], axis=0)

    def gap(name: str) -> np.ndarray:
        parts = [part["blocks"][name] for part in content["similarities"] if part["similarity"] > 0]
        return np.mean([np.array(part["within"]) - np.array(part["between"]) for part in parts], axis=0)

    wanted = [
        ("KD-sim beats label smoothing", "points", mean_accuracy("kd-sim") - mean_accuracy("label-smoothing")),
        ("KD-sim beats its permuted version", "points", mean_accuracy("kd-sim") - mean_accuracy("kd-sim permuted")),
        ("KD-pt beats no distillation", "points", mean_accuracy("kd-pt") - mean_accuracy("none")),
        ("KD beats KD-pt", "points", mean_accuracy("kd") - mean_accuracy("kd-pt")),
        ("KD beats KD-sim", "points", mean_accuracy("kd") - mean_accuracy("kd-sim")),
        ("Class-cosine blocks appear in the teacher", "cosine", gap("teacher")),
        ("Class-cosine blocks appear in KD's student", "cosine", gap("kd")),
        ("They are clearer than without a teacher", "cosine", gap("kd") - gap("none")),
    ]
    at_temperature = next(part for part in content["similarities"] if part["failures"])
    clean, failed = at_temperature["accuracy"], at_temperature["failures"]
    for kind in ("label-smoothed", "over-confident"):
        lost = 100 * (np.array(clean["kd"]) - np.array(failed[kind]["kd"]))
        wanted.append((f"A sound teacher's KD student beats that of the {kind} one", "points", lost))
    found = []
    for claim, unit, values in wanted:
        mean, low, high = interval(values)
        verdict = "agrees" if low > 0 else "disagrees" if high < 0 else "not shown"
        found.append({"claim": claim, "unit": unit, "mean": mean, "low": low, "high": high, "verdict": verdict})
    return found


def markdown(content: dict[str, Any], found: list[dict[str, Any]]) -> str:
    """Both tables: claims, and accuracy per condition and similarity."""
    lines = ["| claim | difference | 95 % interval | |", "|---|---|---|---|"]
    for item in found:
        digits = 1 if item["unit"] == "points" else 3
        low, high = (format(item[key], f"+.{digits}f") for key in ("low", "high"))
        lines.append(
            f"| {item['claim']} | {item['mean']:+.{digits}f} {item['unit']} | {low} to {high} | {item['verdict']} |"
        )
    similarities = content["similarities"]
    lines += ["", "| accuracy, % | " + " | ".join(f"similarity {p['similarity']:g}" for p in similarities) + " |"]
    lines.append("|---" * (len(similarities) + 1) + "|")
    for name in CONDITIONS:
        cells = [_cell(100 * np.array(part["accuracy"][name])) for part in similarities]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    part = next(part for part in similarities if part["failures"])
    lines += [
        "",
        f"| teacher (similarity {part['similarity']:g}) | its accuracy | its confidence | KD-pt | KD-sim | KD |",
    ]
    lines.append("|---|---|---|---|---|---|")
    for kind, values in part["failures"].items():
        row = {**part["accuracy"], **values}
        cells = [_cell(100 * np.array(row[name])) for name in ("teacher", "confidence", "kd-pt", "kd-sim", "kd")]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines.append("")
    lines.append(
        f"Mean ± half of the 95 % interval over {len(content['seeds'])} seeds; differences are paired by seed."
    )
    return "\n".join(lines) + "\n"


def _cell(values: np.ndarray) -> str:
    mean, low, high = interval(values)
    return f"{mean:.1f} ± {(high - low) / 2:.1f}"


def write(content: dict[str, Any], folder: Path) -> str:
    """Write ``claims.md``, ``claims.json`` and the figures into `folder`; returns the Markdown."""
    found = claims(content)
    text = markdown(content, found)
    write_text(folder / "claims.json", json.dumps({"command": content["command"], "claims": found}, indent=1) + "\n")
    write_text(folder / "claims.md", text)
    for name, figure in (
        ("similarity", similarity_figure(content)),
        ("temperature", temperature_figure(content)),
        ("cosines", cosine_figure(content)),
    ):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return text


def _error_bars(axes: Any, x: list[float], rows: list[list[float]], label: str) -> None:
    parts = [interval(100 * np.array(row)) for row in rows]
    means, halves = [part[0] for part in parts], [(part[2] - part[1]) / 2 for part in parts]
    axes.errorbar(x, means, yerr=halves, marker="o", capsize=3, label=label)


def similarity_figure(content: dict[str, Any]) -> Figure:
    """Accuracy over the cosine between sub-classes."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    similarities = content["similarities"]
    for i, name in enumerate(CONDITIONS):
        rows = [part["accuracy"][name] for part in similarities]
        beside = 0.012 * (i - (len(CONDITIONS) - 1) / 2)  # else the intervals cover each other
        _error_bars(axes, [part["similarity"] + beside for part in similarities], rows, name)
    axes.set(xlabel="cosine between sub-classes of one super-class (points moved apart)", ylabel="accuracy, %")
    axes.set_xticks([part["similarity"] for part in similarities])
    axes.set_title(f"Accuracy over class similarity ({len(content['seeds'])} seeds, 95 % intervals)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


def temperature_figure(content: dict[str, Any]) -> Figure:
    """Accuracy over the temperature."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    part = next(part for part in content["similarities"] if part["failures"])
    temperatures = content["settings"]["temperatures"]
    for i, name in enumerate(("kd-pt", "kd-topk", "kd")):
        beside = [t * 1.02 ** (i - 1) for t in temperatures]
        _error_bars(axes, beside, [part["accuracy"][f"{name} T={t:g}"] for t in temperatures], name)
    for name, style in (("none", "--"), ("teacher", ":")):
        axes.axhline(100 * float(np.mean(part["accuracy"][name])), linestyle=style, color="grey", label=name)
    axes.set(xlabel="temperature", ylabel="accuracy, %", xscale="log")
    axes.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
    axes.minorticks_off()
    axes.set_title(f"Accuracy over temperature, similarity {part['similarity']:g}")
    axes.legend()
    return figure


def cosine_figure(content: dict[str, Any]) -> Figure:
    """Cosines between the rows of the output layers, at the lowest and the highest similarity."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    ends = (content["similarities"][0], content["similarities"][-1])
    names = list(ends[0]["cosines"])
    grid = figure.subplots(2, len(names))
    limit = 0.6
    image = None
    for row, part in zip(grid, ends, strict=True):
        for axes, name in zip(row, names, strict=True):
            cosines = np.array(part["cosines"][name])
            np.fill_diagonal(cosines, 0.0)
            image = axes.imshow(cosines, vmin=-limit, vmax=limit, cmap="RdBu_r")
            axes.set_title(f"{name}, similarity {part['similarity']:g}", fontsize=9)
            axes.set(xlabel="class", ylabel="class")
            axes.set_xticks(range(0, len(cosines), 5))
            axes.set_yticks(range(0, len(cosines), 5))
    assert image is not None
    figure.colorbar(image, ax=grid, label="cosine (diagonal left out)")
    return figure
