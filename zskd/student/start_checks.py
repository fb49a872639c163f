"""Checks of what a student begins with, before weights are loaded. Imports neither torch nor transformers."""

from __future__ import annotations

from zskd.config.distillation import DistillConfig
from zskd.errors import InputError
from zskd.models.folder_checks import check_local
from zskd.runs.start_record import no_packaged, open_start, packaged_starts
from zskd.tasks.task import Task


def check_built(config: DistillConfig, task: Task) -> list[str]:
    """A callable has no weights to build a student from, so that it has to begin with a start."""
    if config.student != "build" or config.start_from not in ("auto", "none"):
        return []
    shown = "--student build: a callable teacher has no weights to build a student from"
    if config.start_from == "none":
        return [f"{shown}; leave --start-from none out, or name a folder or Hub id as --student"]
    try:
        if packaged_starts(pair=task.is_pair):
            return []
    except InputError as error:
        return error.problems
    return [
        f"{shown}, and {no_packaged(pair=task.is_pair)}; name a folder or Hub id as --student, or a start of your own "
        "(--start-from, `zskd pretrain`)"
    ]


def check_start(config: DistillConfig, task: Task) -> list[str]:
    """Problems of ``--start-from``."""
    name, auto = config.start_from, config.start_from == "auto"
    if name == "none" or (auto and config.student != "build"):
        return []
    shown = f"--start-from {name}"
    if config.student != "build":
        return [f"{shown}: expected --student build with it, found --student {config.student}; leave one of them out"]
    try:
        if auto and not packaged_starts(pair=task.is_pair):
            return []
        start = open_start("packaged" if auto else name, pair=task.is_pair)
    except InputError as error:
        return error.problems
    if task.is_pair and start.record["inputs"] == "one":
        return [
            f"{shown}: expected a start for two texts, as {task.name} has, found one for single texts; make one with "
            "`zskd pretrain --inputs two`, or use --start-from none"
        ]
    return check_local(str(start.folder), "--start-from", config.max_length)
