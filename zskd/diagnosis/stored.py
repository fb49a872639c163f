"""Reading ``RUN/diagnosis.json``; this needs neither torch nor a teacher."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from zskd.errors import InputError
from zskd.runs.read import read_part
from zskd.runs.shapes import Maybe, wrong_value

FILE = "diagnosis.json"

_SUMMARY = dict.fromkeys(("mean", "std", "p05", "p25", "p50", "p75", "p95"), float)
_DOMAIN = {
    "entropy": _SUMMARY,
    "flatness": float,
    "similarity": {"output_layer": Maybe([[float]]), "predictions": [[float]]},
}
_PAIR = {"classes": [int], "rows": int, "apart": Maybe(float), "separation": Maybe(float)}
_SIGNALS = {
    "instance": {
        "confidence": _SUMMARY,
        "sure": float,
        "histogram": {"edges": [float], "shares": [float]},
        "by_temperature": {...: float},
        "margin": _SUMMARY,
    },
    "domain": Maybe(_DOMAIN),
    "classes": {"share": [float], "probability": [float]},
    "information": float,
    "separation": [_PAIR],
    "levels": {"domain": float, "instance": float},
    "rescaling": {"untrained": _SUMMARY, "student": Maybe(_SUMMARY)},
    "calibration": Maybe({"rows": int, "accuracy": float, "confidence": float, "ece": float}),
}
_DIAGNOSIS = {
    "task": str,
    "labels": [str],
    "teacher": str,
    "texts": int,
    "signals": _SIGNALS,
    "findings": [{"name": str, "trouble": bool, "message": str}],
    "advice": {"objective": Maybe(str), "temperature": Maybe(float), "why": str},
}


def read_diagnosis(folder: Path) -> dict[str, Any] | None:
    """The result of `zskd.diagnosis.diagnose.diagnose` in a run folder; None if there is none.

    Raises:
        InputError: the file cannot be read, or its content does not match this version.
    """
    found: dict[str, Any] | None = read_part(folder, FILE)
    if found is None:
        return None
    problem = wrong_value(found, _DIAGNOSIS, "") or _wrong_size(found["labels"], found["signals"])
    if problem is None and (found["advice"]["objective"] is None) != (found["advice"]["temperature"] is None):
        problem = "an objective without a temperature, or the other way round, as advice"
    if problem:
        raise InputError(
            f"{folder / FILE}: expected what `zskd diagnose` writes, found {problem}; "
            f"`{shlex.join(['zskd', 'diagnose', str(folder)])}` writes it anew"
        )
    return found


def _wrong_size(labels: list[str], signals: dict[str, Any]) -> str | None:
    """Describe the first list or matrix whose size does not match the number of labels; None if all match."""
    histogram = signals["instance"]["histogram"]
    if not histogram["shares"] or len(histogram["edges"]) != len(histogram["shares"]) + 1:
        return f"{len(histogram['edges'])} signals.instance.histogram.edges for {len(histogram['shares'])} shares"
    if (signals["domain"] is None) != (len(labels) == 2):
        return f"{'no' if signals['domain'] is None else 'a'} signals.domain for {len(labels)} labels"
    for name, values in signals["classes"].items():
        if len(values) != len(labels):
            return f"{len(values)} values as signals.classes.{name} for {len(labels)} labels"
    for name, matrix in (signals["domain"] or {"similarity": {}})["similarity"].items():
        if matrix is not None and {len(matrix), *map(len, matrix)} != {len(labels)}:
            return f"another size than {len(labels)} by {len(labels)} as signals.domain.similarity.{name}"
    for pair in signals["separation"]:
        if len(pair["classes"]) != 2 or not all(0 <= i < len(labels) for i in pair["classes"]):
            return f"{pair['classes']} as the classes of a pair in signals.separation"
    return None
