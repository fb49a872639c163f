"""What runs of two versions left: students, counts and keys, and in what they differ.

Nothing here imports zskd; it reads what a run folder and a cache have held in every version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RUNS = ("old", "new", "handed", "resumed")  # see `recipes.same_student`
CACHES = ("corpora", "pools", "labels", "words", "generators")
COUNTS = ("steps", "best_step", "collapse", "teacher_queries", "transfer_set.texts", "transfer_set.rows")


@dataclass(frozen=True)
class Outcome:
    """What a finished run left.

    Attributes:
        student: SHA-256 of the student's weights.
        last: SHA-256 of the weights in the last checkpoint, which an early best checkpoint does not hide.
        counts: values of `COUNTS`.
        resumed_from: step at which the run went on; 0 for one that was never stopped.
    """

    student: str
    last: str
    counts: dict[str, Any]
    metrics_keys: list[str]
    cache_keys: list[str]
    resumed_from: int


def read_outcome(run: Path, cache: Path) -> Outcome:
    """The outcome of a finished run that used `cache`."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    last = max(run.glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    return Outcome(
        student=sha256(run / "student" / "model.safetensors"),
        last=sha256(last / "model.safetensors"),
        counts={name: value_at(metrics, name) for name in COUNTS},
        metrics_keys=sorted(nested_keys(metrics)),
        cache_keys=cache_keys(cache),
        resumed_from=value_at(metrics, "resumed_from") or 0,
    )


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def nested_keys(value: Any, prefix: str = "") -> set[str]:
    """Keys of a mapping and of the mappings in it, as ``outer.inner``."""
    if not isinstance(value, dict):
        return set()
    return {f"{prefix}{key}" for key in value}.union(*(nested_keys(v, f"{prefix}{k}.") for k, v in value.items()))


def value_at(metrics: dict[str, Any], path: str) -> Any:
    """The value of a nested key; None where there is none."""
    found: Any = metrics
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def cache_keys(cache: Path) -> list[str]:
    """Files of the caches relative to the cache folder, without their checksums; their names are the keys."""
    files = (path for name in CACHES for path in (cache / name).rglob("*") if path.is_file())
    return sorted(path.relative_to(cache).as_posix() for path in files if path.suffix != ".sha256")


def changed_keys(before: list[str], after: list[str]) -> dict[str, list[str]]:
    """Keys that are gone and keys that are new."""
    return {"missing": sorted(set(before) - set(after)), "added": sorted(set(after) - set(before))}


def differences(outcomes: dict[str, Outcome]) -> list[str]:
    """In what outcomes differ from the first of them, one line for each part."""
    (first, expected), *others = outcomes.items()
    found = []
    for name, outcome in others:
        for part in ("student", "last", "counts", "metrics_keys", "cache_keys"):
            wanted, value = getattr(expected, part), getattr(outcome, part)
            if value == wanted:
                continue
            if isinstance(value, list):
                changed = changed_keys(wanted, value)
                text = "; ".join(f"{how} {' '.join(keys)}" for how, keys in changed.items() if keys)
            elif isinstance(value, dict):
                text = ", ".join(f"{k} {value[k]} ({first}: {wanted[k]})" for k in value if value[k] != wanted[k])
            else:
                text = f"{value[:8]} ({first}: {wanted[:8]})"
            found.append(f"{name}: {part.replace('_', ' ')}: {text}")
        if name in ("handed", "resumed") and not 0 < outcome.resumed_from < (outcome.counts["steps"] or 0):
            found.append(f"{name}: expected a step within the run to go on from, found {outcome.resumed_from}")
    return found


def as_json(outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """Part -> run -> value; of keys the first run has all, the others what changed."""
    parts: dict[str, dict[str, Any]] = {}
    for name, outcome in outcomes.items():
        for part, value in asdict(outcome).items():
            held = parts.setdefault(part, {})
            held[name] = changed_keys(next(iter(held.values())), value) if held and isinstance(value, list) else value
    return parts


def table(cases: dict[str, dict[str, Any]]) -> str:
    """A line for each case: the student of each run, whether the finished run was left alone, and the seconds."""
    heads = ("case", *RUNS, "finished", "seconds", "equal")
    rows = [heads]
    for name, case in cases.items():
        students = [case.get("student", {}).get(run, "-")[:8] for run in RUNS]
        finished = "yes" if case.get("finished") else "no"
        seconds = str(case.get("seconds", "-"))
        rows.append((name, *students, finished, seconds, "yes" if case["equal"] else "NO"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
