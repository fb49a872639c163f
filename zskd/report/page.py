"""From runs to the page: the values that are shown, and the template that lays them out."""

from __future__ import annotations

import difflib
import itertools
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from zskd.metrics.coverage import row_for
from zskd.report import comparison, diagnosis_section
from zskd.report.curves import adversary_figures, reliability, training_figures
from zskd.report.data import Run, group_runs, load_runs
from zskd.report.facts import class_table, facts, heldout_rows, repeatable
from zskd.report.method_curves import method_figures
from zskd.report.student_section import disagreeing, disagreements, exported, usage
from zskd.runs.wording import opened
from zskd.system.files import output_file, write_text
from zskd.system.formatting import between, in_percent

WANTED = (0.8, 0.85, 0.9, 0.95, 0.98, 0.99)  # agreement with the teacher
SENTENCES = 12  # number of adversarial rows on the page
UNKNOWN = Markup("\N{EN DASH}")


def write_report(folders: Sequence[str | Path], output: str | Path | None = None) -> Path:
    """Write the report of one run, or the comparison of several.

    Args:
        output: the file; default for one run: ``report.html`` in its folder.

    Returns:
        The file's path.

    Raises:
        InputError: a folder is not a run, or its run is not finished.
        ValueError: there are several runs and no `output`.
    """
    runs = load_runs(folders)
    if output is None:
        if len(runs) > 1:
            raise ValueError("output: expected a file for the comparison of several runs")
        output = runs[0].path / "report.html"
        write_text(output, render(runs))
        return output
    page = render(runs)
    with output_file(output) as path:
        path.write_text(page, encoding="utf-8")
    return Path(output)


def render(runs: list[Run]) -> str:
    """The page: of one run, or the comparison of several."""
    environment = Environment(
        loader=PackageLoader("zskd", "assets/report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "count": count, "number": number, "points": points}
    if len(runs) == 1:
        return environment.get_template("run.html.jinja").render(_run_content(runs[0]))
    return environment.get_template("comparison.html.jinja").render(comparison.content(group_runs(runs)))


def _data(value: float | None, text: str) -> Markup:
    """A number as text for people, with the exact value for programs."""
    return Markup('<data value="{}">{}</data>').format(json.dumps(value), text)


def percent(value: float | None) -> Markup:
    """A share as a percentage with one digit."""
    return UNKNOWN if value is None else _data(value, f"{in_percent(value)} %")


def points(value: float | None) -> Markup:
    """A share in percent without the unit, for columns whose header names it."""
    return UNKNOWN if value is None else _data(value, in_percent(value))


def count(value: int | None) -> Markup:
    """A whole number with separators."""
    return UNKNOWN if value is None else _data(value, f"{value:,}")


def number(value: float | None, digits: int = 2) -> Markup:
    """A number with `digits` decimal places."""
    return UNKNOWN if value is None else _data(value, f"{value:z,.{digits}f}")  # z: what rounds to zero has no sign


def _run_content(run: Run) -> dict[str, Any]:
    metrics = run.metrics
    return {
        "run": run,
        "metrics": metrics,
        "facts": facts(run),
        "scores": score_rows(metrics),
        "speed": speed_rows(run),
        "curves": [*training_figures(run), *adversary_figures(run), *method_figures(run)],
        "balance": balance(run),
        "grid": grid(run),
        "diagnosis": diagnosis_section.content(run),
        "diagnose": diagnosis_section.command(run),
        "coverage": coverage_rows(run),
        "confusions": confusions(run),
        "reliability": reliability(run),
        "disagreements": disagreements(run),
        "disagreeing": disagreeing(run),
        "sentences": sentences(run),
        "exported": exported(run),
        "usage": usage(run),
        "machine": run.record.get("processor"),
        "command": shlex.join(["zskd", "distill", "--config", str(run.path / "config.yaml"), "--output-dir", "NEW"]),
        "repeatable": repeatable(run),
        "opened": opened(run.metrics, run.config),
        "heldout": heldout_rows(run),
        "chosen": class_table(run),
        "options": yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True),
    }


def score_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Both models on every evaluation set, one row per metric."""
    rows = []
    for name, student in metrics["student"]["scores"].items():
        teacher = metrics["teacher"]["scores"][name]
        rows.append(
            {
                "set": name,
                "rows": student["rows"],
                "metric": "accuracy",
                "majority": student["majority"],
                "teacher": teacher["accuracy"],
                "student": student["accuracy"],
                "kept": metrics["retention"][name],
                "above": metrics["retention_above_chance"][name],
                "overlap": student.get("overlap"),
                "start_overlap": student.get("start_overlap"),
            }
        )
        if student.get("f1") is not None:
            first = rows[-1]
            blank = dict.fromkeys(("majority", "kept", "above", "overlap", "start_overlap"))
            rows.append({**first, **blank, "metric": "F1", "teacher": teacher["f1"], "student": student["f1"]})
    return rows


def speed_rows(run: Run) -> list[dict[str, Any]]:
    """Size and latency of both models; None if unknown."""
    teacher, student = run.metrics["teacher"]["parameters"], run.metrics["student"]["parameters"]
    known = {"teacher": teacher, "student": student}
    rows: list[dict[str, Any]] = [
        {"what": "parameters", **known, "digits": 0, "less": True, "spread": dict.fromkeys(known, "")}
    ]
    latency = (run.analysis or {}).get("latency") or {}
    for key, what, digits, less in (
        ("milliseconds", "one input alone, ms", 2, True),
        ("texts_per_second", "inputs per second, batches of 32", 0, False),
    ):
        values = {who: (latency.get(who) or {}).get(key) for who in ("teacher", "student")}
        if any(value is not None for value in values.values()):
            spread = {who: between((latency.get(who) or {}).get(f"{key}_quartiles") or (), digits) for who in values}
            rows.append({"what": what, **values, "digits": digits, "less": less, "spread": spread})
    if run.student_bytes is not None:
        size = {"teacher": None, "student": run.student_bytes / 1e6}
        spread = dict.fromkeys(known, "")
        rows.append({"what": "folder on disk, MB", **size, "digits": 2, "less": True, "spread": spread})
    for row in rows:
        before, after = (row["teacher"], row["student"]) if row["less"] else (row["student"], row["teacher"])
        row["ratio"] = before / after if before and after else None
    return rows


def balance(run: Run) -> list[dict[str, Any]]:
    """Per family of inputs: rows, share of every class, mean confidence and entropy."""
    families: dict[str, dict[str, Any]] = {}
    for group in (run.transfer_set or {}).get("groups", []):
        entry = families.setdefault(group["family"], {"family": group["family"], "shares": {}})
        if group["label"] == "all":
            entry |= {key: group[key] for key in ("rows", "confidence", "entropy", "words")}
        else:
            entry["shares"][group["label"]] = group["share"]
    return list(families.values())


def grid(run: Run) -> dict[str, Any] | None:
    """Where the pairs of ``--pairs wide`` stand (`zskd.transfer.pair_grid`), as rows of a table; None without a grid.

    Of each cell the share of the pairs, and the teacher's most frequent class with its share of the cell.
    """
    found = (run.transfer_set or {}).get("grid")
    if found is None:
        return None
    cells = {(cell["overlap"], cell["cosine"]): cell for cell in found["cells"]}
    rows = []
    for at, overlap in enumerate(_ranges(found["overlaps"])):
        row: list[dict[str, Any] | None] = []
        for column in range(len(found["cosines"])):
            cell = cells.get((at, column))
            if cell is None:
                row.append(None)
            else:
                label = max(cell["classes"], key=cell["classes"].__getitem__)
                row.append({"share": cell["share"], "label": label, "label_share": cell["classes"][label]})
        rows.append({"overlap": overlap, "cells": row})
    return {**found, "rows": rows, "columns": _ranges(found["cosines"])}


def _ranges(ends: list[float]) -> list[str]:
    """Names of cells by their upper ends."""
    return [f"up to {ends[0]:g}", *(f"{low:g} to {high:g}" for low, high in itertools.pairwise(ends))]


def coverage_rows(run: Run) -> list[dict[str, Any]]:
    """What the student may answer for each of `WANTED`: the row of its table that proves it, None where none does."""
    table = (run.analysis or {}).get("coverage") or []
    return [{"wanted": wanted, "row": row_for(table, wanted)} for wanted in WANTED] if table else []


def confusions(run: Run) -> list[dict[str, Any]]:
    """Confusion tables, each with a title that names its rows and columns."""
    if run.analysis is None:
        return []
    student = run.analysis["heldout"]
    tables = [("held-out text: teacher (rows) and student (columns)", student["confusion"])]
    for name, models in run.analysis["evaluation"].items():
        tables += [(f"{name}: labels (rows) and {who} (columns)", models[who]["confusion"]) for who in models]
    found = []
    for title, counts in tables:
        rows: list[dict[str, Any]] = [
            {"cells": [{"rows": n, "share": n / sum(line) if sum(line) else None} for n in line]} for line in counts
        ]
        for i, row in enumerate(rows):
            row["label"] = run.labels[i]
        found.append({"title": title, "rows": rows})
    return found


def sentences(run: Run) -> list[dict[str, Any]]:
    """The generator's rows on which teacher and student differ most, by KL(teacher, student)."""
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for row in run.examples:
        divergence = sum(
            p * math.log(p / max(q, 1e-4)) for p, q in zip(row["teacher"], row["student"], strict=True) if p > 0
        )
        if row["after"] not in best or divergence > best[row["after"]][0]:
            best[row["after"]] = (divergence, row)
    chosen = sorted(best.values(), key=lambda pair: -pair[0])[:SENTENCES]
    return [
        {
            "divergence": divergence,
            "step": row["step"],
            "before": " ".join(_words(run, row["before"])),
            "after": changed_words(_words(run, row["before"]), _words(run, row["after"])),
            "teacher": row["teacher"],
            "student": row["student"],
            "agree": row["teacher"].index(max(row["teacher"])) == row["student"].index(max(row["student"])),
        }
        for divergence, row in chosen
    ]


def _words(run: Run, text: str) -> list[str]:
    """Words of a decoded row; a separator inside a pair becomes a bar."""
    words = text.split()
    while words and words[0] in run.special:
        words.pop(0)
    while words and words[-1] in run.special:
        words.pop()
    return ["|" if word in run.special else word for word in words]


def changed_words(before: list[str], after: list[str]) -> list[tuple[str, bool]]:
    """`after` in pieces, and for each piece whether the generator wrote it."""
    matcher = difflib.SequenceMatcher(a=before, b=after, autojunk=False)
    return [
        (" ".join(after[start:end]), kind != "equal") for kind, _, _, start, end in matcher.get_opcodes() if end > start
    ]
