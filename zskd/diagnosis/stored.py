"""Reading ``RUN/diagnosis.json``; this needs neither torch nor a teacher."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zskd.errors import InputError
from zskd.runs.read import read_part

FILE = "diagnosis.json"


@dataclass(frozen=True)
class _Maybe:
    """`shape` or None."""

    shape: Any


# The expected shape: a type means a value of that type (float: any finite number), a list means a list of its entry, a
# dict means a dict with at least these keys, and the key `...` means any key.
_SUMMARY = dict.fromkeys(("mean", "std", "p05", "p25", "p50", "p75", "p95"), float)
_DOMAIN = {
    "entropy": _SUMMARY,
    "flatness": float,
    "similarity": {"output_layer": _Maybe([[float]]), "predictions": [[float]]},
}
_PAIR = {"classes": [int], "rows": int, "apart": _Maybe(float), "separation": _Maybe(float)}
_SIGNALS = {
    "instance": {
        "confidence": _SUMMARY,
        "sure": float,
        "histogram": {"edges": [float], "shares": [float]},
        "by_temperature": {...: float},
        "margin": _SUMMARY,
    },
    "domain": _Maybe(_DOMAIN),
    "classes": {"share": [float], "probability": [float]},
    "information": float,
    "separation": [_PAIR],
    "levels": {"domain": float, "instance": float},
    "rescaling": {"untrained": _SUMMARY, "student": _Maybe(_SUMMARY)},
    "calibration": _Maybe({"rows": int, "accuracy": float, "confidence": float, "ece": float}),
}
_DIAGNOSIS = {
    "task": str,
    "labels": [str],
    "teacher": str,
    "texts": int,
    "signals": _SIGNALS,
    "findings": [{"name": str, "trouble": bool, "message": str}],
    "advice": {"objective": _Maybe(str), "temperature": _Maybe(float), "why": str},
}


def read_diagnosis(folder: Path) -> dict[str, Any] | None:
    """The result of `zskd.diagnosis.diagnose.diagnose` in a run folder; None if there is none.

    Raises:
        InputError: the file cannot be read, or its content does not match this version.
    """
    found: dict[str, Any] | None = read_part(folder, FILE)
    if found is None:
        return None
    problem = _wrong_value(found, _DIAGNOSIS, "") or _wrong_size(found["labels"], found["signals"])
    if problem is None and (found["advice"]["objective"] is None) != (found["advice"]["temperature"] is None):
        problem = "an objective without a temperature, or the other way round, as advice"
    if problem:
        raise InputError(
            f"{folder / FILE}: expected what `zskd diagnose` writes, found {problem}; "
            f"`{shlex.join(['zskd', 'diagnose', str(folder)])}` writes it anew"
        )
    return found


def _wrong_value(found: Any, shape: Any, name: str) -> str | None:
    """Describe the first value in `found` that does not match `shape`; None if all of it matches."""
    if isinstance(shape, _Maybe):
        return None if found is None else _wrong_value(found, shape.shape, name)
    if isinstance(shape, dict):
        if not isinstance(found, dict):
            return f"a {type(found).__name__} as {name}"
        wanted = dict.fromkeys(found, shape[...]) if ... in shape else shape
        if absent := [key for key in wanted if key not in found]:
            return f"no {f'{name}.{absent[0]}'.lstrip('.')}"
        problems = (_wrong_value(found[key], part, f"{name}.{key}".lstrip(".")) for key, part in wanted.items())
    elif isinstance(shape, list):
        if not isinstance(found, list):
            return f"a {type(found).__name__} as {name}"
        problems = (_wrong_value(item, shape[0], f"{name}[{i}]") for i, item in enumerate(found))
    else:
        return None if _is(found, shape) else f"{found!r:.40} as {name}"
    return next((problem for problem in problems if problem), None)


def _is(found: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return isinstance(found, kind) and isinstance(found, bool) == (kind is bool)


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
