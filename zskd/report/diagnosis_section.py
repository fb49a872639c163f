"""The report's section with the result of `zskd diagnose`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from zskd.diagnosis.findings import PAIR_ROWS
from zskd.report.data import Group, Run
from zskd.report.figures import histogram_figure
from zskd.runs.loss import TEMPERED

SHOWN_CLASSES = 10  # largest number of classes in a matrix
SHOWN_PAIRS = 5

# Rows of the table of spreads: name, explanation, and path in the signals.
_SPREADS = (
    ("confidence", "probability of the answer", ("instance", "confidence")),
    ("margin", "logit of the answer minus the mean of the others", ("instance", "margin")),
    ("entropy of the rest", "of the other classes' probabilities, renormalised; 1: even", ("domain", "entropy")),
    ("gradient, untrained", "kd over cross-entropy, for an untrained student", ("rescaling", "untrained")),
    ("gradient, student", "kd over cross-entropy, for the student of this run", ("rescaling", "student")),
)
_MATRICES = (
    ("output_layer", "output layer: cosine between the weights of two classes"),
    ("predictions", "predictions: correlation between the logits of two classes"),
)


@dataclass(frozen=True)
class Matrix:
    """Similarity of classes: `rows` of numbers from -1 to 1, each with the name of its class.

    Attributes:
        key: its name in the signals.
    """

    key: str
    title: str
    labels: list[str]
    rows: list[tuple[str, list[float]]]


def content(run: Run) -> dict[str, Any] | None:
    """Values for the template; None if the run has no diagnosis."""
    found = run.diagnosis
    if found is None:
        return None
    signals = found["signals"]
    return {
        "teacher": found["teacher"],
        "texts": found["texts"],
        "labels": found["labels"],
        "troubles": [item["message"] for item in found["findings"] if item["trouble"]],
        "notes": [item["message"] for item in found["findings"] if not item["trouble"]],
        "advice": advice(run, found["advice"]),
        "confidence": confidence_figure(found),
        "temperatures": [(t.removesuffix(".0"), mean) for t, mean in signals["instance"]["by_temperature"].items()],
        "spreads": spreads(signals),
        "numbers": numbers(signals),
        "calibration": signals["calibration"],
        "matrices": matrices(found),
        "shown": min(len(found["labels"]), SHOWN_CLASSES),
        "pairs": pairs(found),
        "pair_rows": PAIR_ROWS,
        "command": command(run),
    }


def command(run: Run) -> str:
    """The command that diagnoses the run's teacher."""
    return shlex.join(["zskd", "diagnose", str(run.path)])


def advice(run: Run, given: dict[str, Any]) -> dict[str, Any]:
    """The advice, what the run used instead (None if it used the same), and a command that follows the advice."""
    wanted = (given["objective"], given["temperature"])
    if given["objective"] is None:
        return {"first": None, "instead": None, "why": given["why"], "command": None}
    # Runs of older versions had one objective only. Some do not use the temperature.
    used = (run.config.get("objective") or "kd", run.config.get("temperature"))
    same = wanted == used or (wanted[0] == used[0] and wanted[0] not in TEMPERED)
    flags = ["--objective", wanted[0], "--temperature", f"{wanted[1]:g}"]
    again = ["zskd", "distill", "--config", str(run.path / "config.yaml"), *flags, "--output-dir", "NEW"]
    return {
        "first": _words(*wanted),
        "instead": None if same else _words(*used),
        "why": given["why"],
        "command": None if same else shlex.join(again),
    }


def _words(objective: str, temperature: float | None) -> str:
    untempered = temperature is None or objective not in TEMPERED
    return objective if untempered else f"{objective}, T = {temperature:g}"


def confidence_figure(found: dict[str, Any]) -> Markup:
    """Distribution of the teacher's confidence."""
    instance = found["signals"]["instance"]
    edges, shares = instance["histogram"]["edges"], instance["histogram"]["shares"]
    most = max(range(len(shares)), key=shares.__getitem__)
    return histogram_figure(
        "confidence",
        edges,
        [100 * share for share in shares],
        x="confidence of the teacher (0 to 1)",
        y="share of the texts (%)",
        alternative=f"Distribution of the teacher's confidence over {found['texts']:,} texts, in {len(shares)} bars "
        f"from {edges[0]:.2f} to {edges[-1]:.2f}: the highest bar, {100 * shares[most]:.1f} percent, is from "
        f"{edges[most]:.2f} to {edges[most + 1]:.2f}; the median is {instance['confidence']['p50']:.2f}.",
    )


def spreads(signals: dict[str, Any]) -> list[dict[str, Any]]:
    """The signals with a value per text, as far as the diagnosis has them."""
    rows = []
    for name, what, (group, key) in _SPREADS:
        values = (signals[group] or {}).get(key)
        if values is not None:
            rows.append({"name": name, "what": what, "values": values})
    return rows


def numbers(signals: dict[str, Any]) -> list[dict[str, Any]]:
    """The signals that are a single number."""
    rows = [
        ("confidence above 0.99", "share of the texts", signals["instance"]["sure"]),
        ("information", "how much the answer depends on the text, 0 to 1", signals["information"]),
    ]
    if signals["domain"] is not None:
        rows += [
            (
                "flatness",
                "how uneven the other classes' logits are, relative to the margin; 0: even",
                signals["domain"]["flatness"],
            ),
            (
                "kd beside kd-pt",
                "distance of their targets, 0 to 1: what class relations add",
                signals["levels"]["domain"],
            ),
        ]
    rows.append(
        (
            "kd-pt beside hard-label",
            "distance of their targets, 0 to 1: what confidence adds",
            signals["levels"]["instance"],
        )
    )
    return [{"name": name, "what": what, "value": value} for name, what, value in rows]


def matrices(found: dict[str, Any]) -> list[Matrix]:
    """Similarity of classes, limited to the `SHOWN_CLASSES` most frequent answers, in the task's order."""
    domain, labels, share = found["signals"]["domain"], found["labels"], found["signals"]["classes"]["share"]
    if domain is None:
        return []
    most = sorted(range(len(labels)), key=lambda i: -share[i])[:SHOWN_CLASSES]
    shown = sorted(most)
    names = [labels[i] for i in shown]
    return [
        Matrix(key, title, names, [(labels[i], [domain["similarity"][key][i][j] for j in shown]) for i in shown])
        for key, title in _MATRICES
        if domain["similarity"][key] is not None
    ]


def pairs(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The pairs of classes that the teacher separates least, among those with enough answers."""
    if found["signals"]["domain"] is None:
        return []
    known = [pair for pair in found["signals"]["separation"] if pair["rows"] >= PAIR_ROWS]
    similarity = found["signals"]["domain"]["similarity"]
    rows = []
    for pair in known[:SHOWN_PAIRS]:
        a, b = pair["classes"]
        alike = {key: None if similarity[key] is None else similarity[key][a][b] for key, _ in _MATRICES}
        rows.append({**pair, "names": (found["labels"][a], found["labels"][b]), **alike})
    return rows


def comparison(groups: list[Group]) -> dict[str, Any]:
    """A row per run that has a diagnosis, and how many have none."""
    runs = [run for group in groups for run in group.runs]
    rows = []
    for run in runs:
        if run.diagnosis is not None:
            found = run.diagnosis
            rows.append(
                {
                    "run": run.name,
                    "task": found["task"],
                    "confidence": found["signals"]["instance"]["confidence"]["mean"],
                    "troubles": [item["name"] for item in found["findings"] if item["trouble"]],
                    **advice(run, found["advice"]),
                }
            )
    return {"rows": rows, "without": len(runs) - len(rows)}
