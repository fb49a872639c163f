"""What the files of a run folder look like, so that a damaged one is found when it is read and not when it is used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_LARGEST = 2**63  # of whole numbers


@dataclass(frozen=True)
class Maybe:
    """`shape` or None."""

    shape: Any


# A type means a value of that type (float: a finite number, complex: any number, datetime: a date and time with its
# zone, as text), a list means a list of its entry, a
# dict means a dict with at least these keys. A key that ends in ? may be missing; the key `...` means any other key.
_SCORES = {
    ...: {
        "rows": int,
        "accuracy": float,
        "majority": float,
        "f1?": Maybe(float),
        "overlap?": Maybe(int),
        "start_overlap?": Maybe(int),
    }
}
_CLASS = {"share": float, "share_before?": float, "confidence": Maybe(float)}
_METRICS = {
    "task": str,
    "seed": int,
    "pool_seed?": int,
    "teacher": {"name": str, "revision?": Maybe(str), "parameters": Maybe(int), "scores": _SCORES},
    "student": {"parameters": int, "sha256?": Maybe(str), "scores": _SCORES},
    "compression": Maybe(float),
    "retention": {...: Maybe(float)},
    "retention_above_chance": {...: Maybe(float)},
    "agreement": float,
    "agreement_majority": Maybe(float),
    "agreement_above_chance": Maybe(float),
    "agreement_rows?": Maybe(int),
    "teacher_queries?": Maybe(int),
    "teacher_queries_repeated?": int,
    "teacher_queries_live?": Maybe(int),
    "teacher_queries_live_in_all_calls?": Maybe(int),
    "teacher_queries_by_use?": {...: int},
    "teacher_queries_for?": {...: int},
    "query_budget?": Maybe({"budget": int, "spent": int, "for": {...: int}}),
    "transfer_set": {"texts": int, "rows?": int, "classes": {...: _CLASS}},
    "steps": int,
    "best_step": int,
    "resumed_from?": int,
    "calls?": int,
    "collapse?": Maybe(str),
    "seconds": {"total": float, ...: float},
    "zero_shot?": {"enforced": bool, "read_before_training?": [str], "read_after_training?": [str]},
    "versions": {"zskd": str, ...: str},
}
_TASK = {
    "name": str,
    "labels": [str],
    "text_columns": [str],
    "teacher?": Maybe(str),
    "student?": Maybe(str),
    "metrics?": [str],
    "max_length?": int,
    "dev_files?": {...: str},
    "hub_config?": Maybe(str),
    "hub_splits?": {...: str},
}
_RECORD = {
    "pool_seed?": int,
    "task?": _TASK,
    "versions?": {"zskd": str, ...: str},
    "corpus?": {"sources": {...: str}, "sentences": int},
    "pools?": {"size?": int},
    "teacher?": {"name": str, "revision": Maybe(str), "fingerprint?": Maybe(str)},
    "student?": {"revision": Maybe(str)},
    "machine?": {"threads?": int, "gpu?": Maybe(str)},
    "processor?": str,
    "gold_labels?": {"rows": int},
}
_GROUP = {
    "family": str,
    "label": str,
    "rows": int,
    "share": float,
    "confidence": Maybe(float),
    "entropy": Maybe(float),
    "words": Maybe(float),
}
_BIN = {"rows": int, "confidence": float, "accuracy": float}
_COMPARED = {"rows": int, "confusion": [[int]], "reliability": {"ece": float, "bins": [_BIN]}}
_SPEED = {
    "milliseconds": float,
    "texts_per_second": float,
    "milliseconds_quartiles?": [float],
    "texts_per_second_quartiles?": [float],
    "device": str,
    "threads": int,
}
_EXPORTED = {
    "bytes": int,
    "milliseconds": float,
    "texts_per_second": float,
    "milliseconds_quartiles?": [float],
    "texts_per_second_quartiles?": [float],
    "agreement?": float,
    "scores?": {"accuracy": float},
}
_CELL = {"overlap": int, "cosine": int, "share": float, "classes": {...: float}}
_GRID = {
    "encoder": str,
    "pairs": int,
    "apart_and_alike": float,
    "overlaps": [float],
    "cosines": [float],
    "cells": [_CELL],
}
SHAPES: dict[str, Any] = {
    "metrics.json": _METRICS,
    "record.json": _RECORD,
    "transfer_set.json": {
        "rows": int,
        "duplicates": int,
        "entropy_limit": float,
        "groups": [_GROUP],
        "grid?": _GRID,
    },
    "analysis.json": {
        "labels": [str],
        "heldout": _COMPARED,
        "coverage?": [{"threshold": float, "rows": int, "coverage": float, "agreement": Maybe(float), "bound": float}],
        "evaluation": {...: {"teacher": _COMPARED, "student": _COMPARED}},
        "latency": {"teacher": Maybe(_SPEED), "student": Maybe(_SPEED)},
    },
    "history.json": [{"step": int, "loss?": complex, "eval_loss?": complex, "eval_agreement?": complex}],
    "adversarial.json": [{"step": int, "before": str, "after": str, "teacher": [float], "student": [float]}],
    "disagreements.json": [{"texts": [str], "teacher": [float], "student": [float], "divergence": float}],
    "calls.json": [{"began?": datetime, "seconds": {...: float}, "teacher_queries_live": int}],
    "export.json": {
        "weights?": Maybe(str),
        "largest_difference": float,
        "threads": int,
        "data": Maybe(str),
        "rows?": Maybe(int),
        "models": {...: _EXPORTED},
    },
}


def wrong_part(name: str, found: Any) -> str | None:
    """Describe what in the content of a file of a run is not as zskd writes it; None if all of it is.

    Args:
        name: of the file; one that is not in `SHAPES` is not looked at.
    """
    if name not in SHAPES:
        return None
    return wrong_value(found, SHAPES[name], "") or next(_inconsistent(name, found), None)


def wrong_value(found: Any, shape: Any, name: str) -> str | None:
    """Describe the first value in `found` that does not match `shape`; None if all of it matches."""
    if isinstance(shape, Maybe):
        return None if found is None else wrong_value(found, shape.shape, name)
    shown = name or "the whole"
    if isinstance(shape, dict):
        if not isinstance(found, dict):
            return f"a {type(found).__name__} as {shown}"
        named = {key: part for key, part in shape.items() if key is not ...}
        wanted = dict.fromkeys(found, shape[...]) if ... in shape else {}
        for key, part in named.items():
            plain = key.removesuffix("?")
            if plain in found:
                wanted[plain] = part
            elif plain == key:
                return f"no {f'{name}.{key}'.lstrip('.')}"
        problems = (wrong_value(found[key], part, f"{name}.{key}".lstrip(".")) for key, part in wanted.items())
    elif isinstance(shape, list):
        if not isinstance(found, list):
            return f"a {type(found).__name__} as {shown}"
        problems = (wrong_value(item, shape[0], f"{name}[{i}]") for i, item in enumerate(found))
    else:
        return None if _is(found, shape) else f"{_brief(found)} as {shown}"
    return next((problem for problem in problems if problem), None)


def _brief(found: Any) -> str:
    return f"a {type(found).__name__}" if isinstance(found, dict | list) else f"{found!r:.40}"


def _is(found: Any, kind: type) -> bool:
    if kind is datetime:
        return isinstance(found, str) and _is_date(found)
    if kind in (float, complex):
        if isinstance(found, bool) or not isinstance(found, int | float):
            return False
        if isinstance(found, int):
            return abs(found) < _LARGEST
        return kind is complex or math.isfinite(found)
    if kind is int and isinstance(found, int) and abs(found) >= _LARGEST:
        return False
    return isinstance(found, kind) and isinstance(found, bool) == (kind is bool)


def _is_date(text: str) -> bool:
    try:
        date = datetime.fromisoformat(text)
        return date.tzinfo is not None and date == date.astimezone(UTC)
    except (ValueError, OverflowError):
        return False


def _outside(grid: dict[str, Any]) -> Iterator[str]:
    """Cells of a grid of pairs that have no place in it, or no classes."""
    yield from (f"no grid.{side}" for side in ("overlaps", "cosines") if not grid[side])
    for i, cell in enumerate(grid["cells"]):
        inside = 0 <= cell["overlap"] < len(grid["overlaps"]) and 0 <= cell["cosine"] < len(grid["cosines"])
        if not inside or not cell["classes"]:
            yield f"a place outside of the grid, or no classes, as grid.cells[{i}]"


def _inconsistent(name: str, found: Any) -> Iterator[str]:
    """Sizes and names within a file that do not match each other."""
    if name == "metrics.json":
        parts = {f"{key}": found[key] for key in ("retention", "retention_above_chance")}
        parts["teacher.scores"] = found["teacher"]["scores"]
        for part, values in parts.items():
            yield from (f"no {part}.{one}" for one in found["student"]["scores"] if one not in values)
    elif name == "transfer_set.json":
        whole = {group["family"] for group in found["groups"] if group["label"] == "all"}
        yield from (f"no group of all {g['family']} rows" for g in found["groups"] if g["family"] not in whole)
        if grid := found.get("grid"):
            yield from _outside(grid)
    elif name == "analysis.json":
        size = len(found["labels"])
        compared = {"heldout": found["heldout"]}
        for one, models in found["evaluation"].items():
            compared |= {f"evaluation.{one}.{who}": models[who] for who in models if who in ("teacher", "student")}
        for one, part in compared.items():
            if {len(part["confusion"]), *map(len, part["confusion"])} != {size}:
                yield f"another size than {size} by {size} as {one}.confusion"
    elif name in ("adversarial.json", "disagreements.json"):
        for i, row in enumerate(found):
            if not 0 < len(row["teacher"]) == len(row["student"]):
                yield f"{len(row['teacher'])} values as [{i}].teacher, {len(row['student'])} as [{i}].student"
