"""The folder of an unfinished `zskd finetune`, and checks that a training may begin, or go on.

.NAME.training/started.json     what the training began with: options, task, precision, fingerprints of rows and base
.NAME.training/checkpoint-N/    Trainer's checkpoints, of which two are kept
.NAME.training/snapshots/       trained weights of evaluations (`zskd.finetune.snapshots`)

It stands beside the output folder NAME, and is removed when the teacher is there. Imports neither torch nor
transformers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from zskd.config.limits import flag
from zskd.config.resolve import to_dict
from zskd.config.verbs import FinetuneConfig
from zskd.errors import InputError
from zskd.runs.folder import task_definition
from zskd.runs.read import read_part
from zskd.system.files import write_problem, write_text
from zskd.system.paths import exists, found_at, is_folder
from zskd.system.unfinished import held_name
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.task import Task

STARTED, RECORD = "started.json", "training.json"
# Options that may differ between a training and its continuation: the rows are compared themselves, as is the
# precision that is meant by `auto`.
FREE_OPTIONS = ("resume", "output_dir", "cache_dir", "glue_dir", "skip_bad_rows")
_LEFT_OUT = (
    "resume",
    "output_dir",
    "cache_dir",
    "glue_dir",
    "adapter",
    "undistillable",
)  # of a record, which may be published


def output_path(config: FinetuneConfig, task: Task) -> Path:
    """The folder of the finished teacher."""
    return Path(config.output_dir or f"runs/teacher-{task.name}")


def working_folder(output: Path) -> Path:
    """The folder of an unfinished training."""
    return output.parent / f".{output.name}.training"


def recorded_options(config: FinetuneConfig) -> dict[str, Any]:
    """The options in a teacher's record: those on which it depends, without names of folders."""
    return {name: value for name, value in to_dict(config).items() if name not in _LEFT_OUT}


def started_from(config: FinetuneConfig) -> str | None:
    """The name of the adapter's folder that a training starts from."""
    return Path(config.adapter).name if config.adapter else None


def write_started(folder: Path, config: FinetuneConfig, precision: str, fingerprints: dict[str, str]) -> None:
    """Record what a training begins with.

    Args:
        precision: in which it computes.
        fingerprints: `rows`, `base` and, where there is a usual teacher, `undistillable`, which are compared when it
            goes on.
    """
    content = {
        "options": to_dict(config),
        "task": task_definition(config.task),
        "precision": precision,
        "fingerprints": fingerprints,
    }
    write_text(folder / STARTED, json.dumps(content, indent=2) + "\n")


def read_started(folder: Path) -> dict[str, Any] | None:
    """What `write_started` wrote; None if there is nothing.

    Raises:
        InputError: the file is damaged.
    """
    found: dict[str, Any] | None = read_part(folder, STARTED)
    if found is not None and not all(
        isinstance(found.get(name), kind)
        for name, kind in {"options": dict, "task": dict, "precision": str, "fingerprints": dict}.items()
    ):
        raise InputError(f"{folder / STARTED}: expected what a training began with, found something else")
    return found


def steps_saved(folder: Path) -> int | None:
    """The step of the newest checkpoint in a folder, whatever state it is in; None if there is none."""
    try:
        steps = [int(found[1]) for path in folder.iterdir() if (found := re.fullmatch(r"checkpoint-(\d+)", path.name))]
    except OSError:
        return None
    return max(steps, default=None)


def training_problems(config: FinetuneConfig, task: Task) -> list[str]:
    """Problems with beginning a training, or going on with one, in the output folder and the one beside it."""
    config = with_task_defaults(config)
    output = output_path(config, task)
    shown, work = f"--output-dir {output}", working_folder(output)
    if problem := write_problem(work):
        return [f"{shown}: expected a name with room for {work.name} beside it, found: {problem}"]
    try:
        if config.resume and exists(output) and any(output.iterdir()):
            return _output_problems(config, task, output, shown)
        return _work_problems(config, work, shown)
    except InputError as error:
        return [f"{shown}: {problem}; remove the folder to train from the beginning" for problem in error.problems]
    except OSError as error:
        return [f"{shown}: expected a folder that can be read, found: {error.strerror}"]


def _output_problems(config: FinetuneConfig, task: Task, output: Path, shown: str) -> list[str]:
    record = read_part(output, RECORD)
    if record is None or not isinstance(record.get("options"), dict):
        return [f"{shown}: expected a teacher of `zskd finetune`, or a new or empty folder, found other files in it"]
    wanted = recorded_options(config) | {"adapter": started_from(config)}
    held = {**record["options"], "adapter": record.get("started_from")}
    wanted["undistillable"] = None if config.undistillable is None else "a usual teacher"
    held["undistillable"] = None if record.get("undistillable") is None else "a usual teacher"
    held["task"] = wanted["task"] if record.get("task") == task.name else record.get("task")
    precision = str(record.get("precision", held.get("precision")))
    if changes := _changes(held, wanted, precision):
        return [f"{shown}: holds another teacher ({changes}); choose another folder"]
    return []


def _work_problems(config: FinetuneConfig, work: Path, shown: str) -> list[str]:
    if not exists(work):
        return []
    if not is_folder(work) or work.is_symlink():
        found = "a link" if work.is_symlink() else found_at(work)
        return [f"{shown}: expected the folder of an unfinished training, or none, found {found} at {work}; remove it"]
    started = read_started(work)
    if started is None:
        # A training that was killed while it wrote its first file has left the folder of that.
        if all(held_name(path) is not None for path in work.iterdir()):
            return []
        return [f"{shown}: expected {STARTED} in {work}, found other files; remove that folder"]
    if (step := steps_saved(work)) is None:
        return []  # nothing that could be lost
    away = f"choose another folder, or remove {work} to train from the beginning"
    if changes := _changes(started["options"], to_dict(config), started["precision"]):
        return [f"{shown}: an unfinished training with other options is in {work} ({changes}); {away}"]
    if started["task"] != task_definition(config.task):
        return [f"{shown}: an unfinished training of another definition of {config.task} is in {work}; {away}"]
    if not config.resume:
        return [
            f"{shown}: this training is in {work}, unfinished, with a checkpoint of step {step:,}; pass --resume to "
            f"continue it, {away}"
        ]
    return []


def _changes(held: dict[str, Any], wanted: dict[str, Any], precision: str) -> str:
    """Options that differ, with their flags; an older version lacks what was the only way then.

    Args:
        precision: in which the training computed; `auto` may mean it, which is found out later.
    """
    defaults = to_dict(FinetuneConfig())
    held = {**defaults, **held, "precision": precision}
    if wanted.get("precision") == "auto":
        wanted = {**wanted, "precision": precision}
    different = [name for name in wanted if name not in FREE_OPTIONS and held[name] != wanted[name]]
    return ", ".join(f"{flag(name)} {held[name]!r} there, {wanted[name]!r} here" for name in different[:4])


def fingerprint_problems(
    config: FinetuneConfig, work: Path, precision: str, fingerprints: dict[str, str], source: str
) -> list[str]:
    """What a training that is resumed would compute with, and did not begin with.

    Args:
        precision: in which it would compute.
        fingerprints: as for `write_started`.
        source: the rows, as messages name them.
    """
    started = read_started(work)
    if started is None:
        return []
    found = []
    if started["precision"] != precision:
        there = started["precision"]
        found.append(
            f"--precision {config.precision}: expected {there}, in which the training in {work} began, found "
            f"{precision}, which it means on this machine; pass --precision {there}"
        )
    shown = {
        "rows": source,
        "base": f"--base {config.base}",
        "undistillable": f"--undistillable {config.undistillable}",
    }
    found += [
        f"{shown[name]}: expected the {'rows' if name == 'rows' else 'weights'} that the training in {work} began "
        f"with, found others; put them back, or remove that folder to train from the beginning"
        for name, value in fingerprints.items()
        if started["fingerprints"].get(name) != value
    ]
    return found
