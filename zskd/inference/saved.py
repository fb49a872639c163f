"""Loading a saved classifier without naming its task, which its ``config.json`` and its run describe."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zskd.config.resolve import cache_root
from zskd.errors import InputError
from zskd.models.labels import TEXTS_FIELD, label_names, recorded_texts
from zskd.models.positions import usable_positions
from zskd.runs.read import read_part
from zskd.tasks.task import TASKS, Task, find_task
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import classifier_from, load_plain, pick_device
from zskd.teacher.load import load_teacher

logger = logging.getLogger(__name__)

LONGEST = 512  # maximum length in tokens, if neither task nor model have a lower one


@dataclass(frozen=True)
class Saved:
    """A loaded classifier.

    Attributes:
        labels: names of its classes, in the order of its logits.
        texts: number of texts of an input; None if neither task, run nor ``config.json`` tell.
        reason: where `texts` comes from, for messages.
        max_length: tokens; longer inputs are cut.
        task: its task, or None if it is not known.
    """

    classifier: Teacher
    labels: tuple[str, ...]
    texts: int | None
    reason: str
    max_length: int
    task: Task | None


def recorded_task(record: dict[str, Any]) -> Task | None:
    """The task of a run's ``record.json``; None if an older version of zskd did not record it."""
    definition = record.get("task")
    if not isinstance(definition, dict):
        return None
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in definition.items()}
        return Task(**values)
    except TypeError:  # recorded by a version whose tasks had other attributes
        return TASKS.get(str(definition.get("name")))


def _run_of(folder: Path) -> tuple[Task | None, int | None]:
    """Task and maximum length of the run that a student's folder belongs to."""
    if folder.name != "student":
        return None, None
    try:
        record, options = read_part(folder.parent, "record.json"), read_part(folder.parent, "config.yaml")
    except InputError:
        return None, None  # not a student's folder
    if record is None or options is None:
        return None, None
    return recorded_task(record), options.get("max_length")


def student_folder(name: str) -> str:
    """`name`, or ``RUN/student`` if it names a run folder.

    Raises:
        InputError: the run has no student yet.
    """
    folder = Path(name).expanduser()
    if not (folder / "config.yaml").is_file() or (folder / "config.json").is_file():
        return name
    if not (folder / "student" / "config.json").is_file():
        raise InputError(f"{name}: expected a finished run, found no student in it; finish it with --resume")
    return str(folder / "student")


def load_saved(
    name: str,
    *,
    flag: str,
    task_name: str | None = None,
    label_map: str | None = None,
    max_length: int | None = None,
    cache_dir: str | None = None,
) -> Saved:
    """Load a classifier from a run folder, a model folder or the Hub, onto the device where models run.

    Args:
        task_name: a task whose label names, label order and number of texts are used.
        max_length: overrides that of the task, the run or the model.

    Raises:
        InputError: the classifier cannot be loaded, or its labels are not the task's.
    """
    cache, name = cache_root(cache_dir), student_folder(name)
    if task_name:
        task = find_task(task_name)
        classifier = load_teacher(task, name, cache, None, label_map, flag=flag)
        reason = f"--task {task_name}"
        return Saved(classifier, task.labels, len(task.text_columns), reason, max_length or task.max_length, task)
    model, tokenizer, commit = load_plain(name, cache, None, flag=flag)
    labels = tuple(label_names(model.config.to_dict(), f"{flag} {name}"))
    known, length = _run_of(Path(name).expanduser())
    texts, reason = recorded_texts(model.config.to_dict(), f"{flag} {name}"), f"{TEXTS_FIELD} in its config.json"
    if known is not None and (tuple(known.labels) != labels or texts not in (None, len(known.text_columns))):
        known = None  # the folder contains another model by now
    if known is not None:
        texts, reason = len(known.text_columns), f"{Path(name).parent / 'record.json'} says {known.name}"
    limits = (usable_positions(model.config.to_dict()), tokenizer.model_max_length, LONGEST)
    return Saved(
        classifier=classifier_from(None, model.to(pick_device()), tokenizer, name=name, revision=commit),
        labels=labels,
        texts=texts,
        reason=reason,
        max_length=max_length or min(limit for limit in (*limits, length) if limit is not None),
        task=known,
    )
