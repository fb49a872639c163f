"""Reading finished run folders, and grouping runs that differ only in the seed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from zskd.config.methods.adversarial import AdversarialOptions
from zskd.diagnosis.stored import read_diagnosis
from zskd.errors import InputError
from zskd.runs.folder import FREE_OPTIONS
from zskd.runs.read import FinishedRun, read_part, read_run
from zskd.runs.wording import is_adversarial
from zskd.system.files import folder_size
from zskd.system.paths import is_folder

# Options that do not affect results; they do not tell runs apart.
_CIRCUMSTANCES = ("seed", *FREE_OPTIONS)

_ADVERSARY = {item.name for item in fields(AdversarialOptions)}

_OPTIONAL = {
    "record.json": "corpus, fingerprints, label names and processor",
    "history.json": "curves",
    "transfer_set.json": "class balance of the transfer set",
    "analysis.json": "confusion, reliability and latency",
    "disagreements.json": "held-out inputs on which teacher and student differ",
}


@dataclass(frozen=True)
class Run(FinishedRun):
    """A finished run, with parts that only the report needs.

    Attributes:
        history: Trainer's log; empty if it is missing.
        examples: content of ``adversarial.json``; empty if it is missing.
        disagreements: content of ``disagreements.json``; None if it is missing.
        diagnosis: content of ``diagnosis.json``; None if there is none.
        export: content of ``export/export.json``; None if there is none.
        calls: content of ``calls.json``; empty if it is missing.
        student_bytes: bytes of all files of the student's folder; None if it is missing.
        special: special tokens of the student's tokenizer, such as CLS and SEP.
        missing: file that is missing, or lacks something -> what the report cannot show without it.
    """

    history: list[dict[str, Any]]
    examples: list[dict[str, Any]]
    disagreements: list[dict[str, Any]] | None
    diagnosis: dict[str, Any] | None
    export: dict[str, Any] | None
    calls: list[dict[str, Any]]
    student_bytes: int | None
    special: frozenset[str]
    missing: dict[str, str]

    @property
    def labels(self) -> list[str]:
        """Label names in the task's order."""
        known = (self.analysis or {}).get("labels") or self.record.get("task", {}).get("labels")
        return list(known or self.metrics["transfer_set"]["classes"])

    def curve(self, key: str) -> tuple[list[int], list[float]]:
        """Optimizer steps and values of a key in the training log; values that are not numbers are left out.

        Both are empty where there is only one value, which is no curve.
        """
        found = [(entry["step"], entry[key]) for entry in self.history if key in entry and math.isfinite(entry[key])]
        found = found if len(found) > 1 else []
        return [step for step, _ in found], [value for _, value in found]


def _special(student: Path) -> frozenset[str]:
    settings = read_part(student, "tokenizer_config.json") or {}
    names = ("cls_token", "sep_token", "pad_token", "bos_token", "eos_token")
    return frozenset(settings[name] for name in names if isinstance(settings.get(name), str))


def load_run(folder: str | Path) -> Run:
    """Read a run folder.

    Raises:
        InputError: it is not a run folder, the run is not finished, or a file is damaged.
    """
    run = read_run(folder)
    calls = read_part(run.path, "calls.json", list) or []
    return Run(
        **vars(run),
        history=read_part(run.path, "history.json", list) or [],
        examples=read_part(run.path, "adversarial.json", list) or [],
        disagreements=read_part(run.path, "disagreements.json", list),
        diagnosis=read_diagnosis(run.path),
        export=read_part(run.path / "export", "export.json"),
        calls=calls,
        student_bytes=folder_size(run.student) if is_folder(run.student) else None,
        special=_special(run.student),
        missing=_missing(run, calls),
    )


def _missing(run: FinishedRun, calls: list[dict[str, Any]]) -> dict[str, str]:
    found = {name: what for name, what in _OPTIONAL.items() if not (run.path / name).exists()}
    if run.record and "processor" not in run.record:
        found["record.json"] = "the machine's processor"
    if not any("began" in call for call in calls):
        found["calls.json"] = "date"
    return found


def load_runs(folders: Iterable[str | Path]) -> list[Run]:
    """`load_run` of each, once.

    Raises:
        InputError: all problems found.
    """
    runs: dict[Path, Run] = {}
    problems: list[str] = []
    for folder in folders:
        try:
            run = load_run(folder)
            runs.setdefault(run.path.resolve(), run)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return list(runs.values())


@dataclass(frozen=True)
class Group:
    """Runs with the same options and different seeds.

    Attributes:
        task: the task's name.
        differs: options in which this group differs from other groups of its task, as ``option value``.
    """

    task: str
    differs: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """The task's name, followed by the run folders if the task has several groups."""
        folders = [run.name for run in self.runs]
        shown = ", ".join(folders[:3]) + (", …" if len(folders) > 3 else "")
        return f"{self.task}: {shown}" if self.differs else self.task


_SETTLED_LATER = ("learning_rate", "top_k", "pool_seed")  # options whose default depends on student, task or seed
_UNUSED = "unused"  # an adversary's option in a run without one


def _identity(run: Run) -> dict[str, Any]:
    kept = {key: value for key, value in run.config.items() if key not in _CIRCUMSTANCES and key != "task"}
    if not is_adversarial(run.config):
        kept |= {key: _UNUSED for key in kept if key in _ADVERSARY}
    # A callable teacher that was passed in Python appears in the metrics only.
    return {**kept, "teacher": run.metrics["teacher"]["name"]}


def group_runs(runs: list[Run]) -> list[Group]:
    """Groups of runs that differ only in the seed, in order of their first run.

    Options that are missing in the ``config.yaml`` of some run (older versions wrote fewer) do not tell runs apart.
    """
    shared = set.intersection(*(set(_identity(run)) for run in runs))
    found: dict[str, list[Run]] = {}
    for run in runs:
        identity = {key: value for key, value in _identity(run).items() if key in shared}
        found.setdefault(json.dumps([run.metrics["task"], identity], sort_keys=True, default=str), []).append(run)
    # Differences between tasks (length, size of the pool) are expected; only differences within a task are listed.
    by_task: dict[str, list[Run]] = {}
    for run in runs:
        by_task.setdefault(run.metrics["task"], []).append(run)
    groups = []
    for members in found.values():
        first, task = _identity(members[0]), members[0].metrics["task"]
        rivals = [_identity(run) for run in by_task[task]]
        differing = [
            key
            for key in _identity(runs[0])  # the same order for all groups
            if key in shared
            and first[key] != _UNUSED
            and any(other[key] not in (first[key], _UNUSED) for other in rivals)
        ]
        groups.append(
            Group(
                task, tuple(f"{key.replace('_', ' ')} {_short(key, first[key])}" for key in differing), tuple(members)
            )
        )
    return groups


def _short(key: str, value: Any) -> str:
    if value is None and key in _SETTLED_LATER:
        return "default"
    if value in (None, []):
        return "none"
    if isinstance(value, list):
        return " ".join(Path(str(item)).name for item in value)
    return Path(value).name if isinstance(value, str) and "/" in value else str(value)
