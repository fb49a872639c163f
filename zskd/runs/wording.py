"""Wording that log, closing table, report and card share: what data a run has opened and what it asked the teacher."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from zskd.system.formatting import in_percent
from zskd.tasks.query_plan import PARTS

PROBE, GATE = "probe", "probe (teacher gate)"
GOLD = "gold labels (--gold-labels)"

GIVEN = "given"  # family of the pairs that were handed over
_COPY = re.compile(r"(?:^|/)texts/[0-9a-f]{16}\.jsonl$")  # as `zskd.stages.texts` names it in the cache

# Uses of the teacher's answers, in the order in which they are named; others are those of methods.
_USES = {
    "transfer_inputs": "inputs of the transfer set",
    "held_out_inputs": "held-out inputs",
    "gold_rows": "labelled rows (--gold-labels)",
    "texts": "inputs",  # of runs whose version did not tell the three above apart
    "single_tokens": "single tokens for the student's start",
    "generator": "texts of the generator",
}


@dataclass(frozen=True)
class Opening:
    """Labelled rows that a run has opened.

    Attributes:
        name: the evaluation set, or what the rows are.
        rows: how many; None if it is not known.
        use: what for.
        read: its name in ``metrics.json``.
    """

    name: str
    rows: int | None
    use: str
    read: str = ""

    def __str__(self) -> str:
        rows = "" if self.rows is None else f"{self.rows:,} rows; "
        return f"{self.name} ({rows}{self.use})"


@dataclass(frozen=True)
class Opened:
    """The labelled rows that a run has opened before and after training."""

    before: list[Opening]
    after: list[Opening]


def opened(metrics: dict[str, Any], config: dict[str, Any]) -> Opened:
    """Which labelled rows a run has opened, and what for.

    Args:
        metrics: content of ``metrics.json``; one of an older version does not name the probe after training.
        config: content of ``config.yaml``.
    """
    scores, zero_shot = metrics["student"]["scores"], metrics.get("zero_shot", {})
    read_before = zero_shot.get("read_before_training", [])
    before = []
    if GATE in read_before:
        rows = scores.get(PROBE, {}).get("rows")
        before.append(Opening(PROBE, rows, "can refuse a teacher, and changes nothing else", GATE))
    if GOLD in read_before or config.get("gold_labels"):
        gold = metrics.get("teacher_queries_for", {}).get("gold_rows")
        before.append(Opening("gold labels", gold, "the student was trained on them", GOLD))
    before += [Opening(name, None, "opened", name) for name in read_before if name not in (GATE, GOLD)]
    after = []
    for name in dict.fromkeys([*scores, *zero_shot.get("read_after_training", [])]):
        use = "the student's score" if name == PROBE else "the scores of teacher and student"
        after.append(Opening(name, scores.get(name, {}).get("rows"), use, name))
    return Opened(before, after)


def is_adversarial(config: dict[str, Any]) -> bool:
    """Whether a generator rewrote inputs during training; both ways to ask for it mean the same.

    Args:
        config: content of ``config.yaml``.
    """
    return config.get("perturb") == "adversarial" or "adversarial" in (config.get("method") or [])


def was_handed_over(source: str) -> bool:
    """Whether a source of the text is the copy of texts that were handed over in Python, which nobody knows by name."""
    return bool(_COPY.search(source))


def used_given_pairs(transfer_set: dict[str, Any] | None) -> bool:
    """Whether the inputs are pairs that were handed over in Python and used as they are, which no command does.

    Args:
        transfer_set: content of ``transfer_set.json``; None if it is missing.
    """
    return any(group["family"] == GIVEN for group in (transfer_set or {}).get("groups", ()))


def query_words(metrics: dict[str, Any]) -> str:
    """How many texts the teacher was asked for, split by what for.

    The parts, less the repeated inputs, sum to the whole.
    """
    split = metrics.get("teacher_queries_for") or metrics.get("teacher_queries_by_use") or {}
    names = [*(name for name in _USES if name in split), *(name for name in split if name not in _USES)]
    parts = [f"{split[name]:,} {_USES.get(name, name)}" for name in names if split[name]]
    whole = f"{metrics['teacher_queries']:,}"
    if (repeated := metrics.get("teacher_queries_repeated")) and metrics.get("teacher_queries_for"):
        parts.append(f"less {repeated:,} that repeat another of their pool")
    return f"{whole}: {', '.join(parts)}" if parts else whole


def budget_words(budget: int, parts: dict[str, int]) -> str:
    """A budget of teacher queries and what it is divided into, or was spent on.

    Example:
        >>> budget_words(2_000, {"gate": 240, "held_out": 200, "single_tokens": 0, "transfer": 1_560})
        '2,000 (240 rows of the probe, 200 held-out inputs, 1,560 inputs of the transfer set)'
    """
    names = {**_USES, **PARTS, "repeated": "texts of calls that failed"}
    said = [f"{count:,} {names.get(name, name)}" for name, count in parts.items() if count]
    return f"{budget:,} ({', '.join(said)})"


def spent_lines(metrics: dict[str, Any]) -> list[str]:
    """A line that says what a run's budget was spent on, if it had one."""
    found = metrics.get("query_budget")
    if not found:
        return []
    return [f"query budget: {found['budget']:,}, of which {budget_words(found['spent'], found['for'])} were spent"]


def class_shares(classes: dict[str, dict[str, Any]]) -> str:
    """The teacher's classes among all labelled inputs, and among the rows that the student is trained on.

    Args:
        classes: per class ``share_before`` and ``share``, as in ``metrics.json``.
    """

    def shares(key: str) -> str:
        return ", ".join(f"{name} {in_percent(entry[key])} %" for name, entry in classes.items())

    if any("share_before" not in entry for entry in classes.values()):  # of an older version
        return f"as trained on {shares('share')}"
    if all(entry["share_before"] == entry["share"] for entry in classes.values()):
        return f"as labelled and as trained on {shares('share')}"
    return f"as labelled {shares('share_before')}; as trained on {shares('share')}"
