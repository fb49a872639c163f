"""Loading a saved classifier without naming its task, which its ``config.json`` and its run describe."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zskd.config.resolve import cache_root
from zskd.errors import InputError
from zskd.models.folder_checks import student_folder
from zskd.models.labels import TEXTS_FIELD, label_names, recorded_texts
from zskd.runs.read import check_student, read_part
from zskd.system.paths import expanded, is_file
from zskd.tasks.task import TASKS, Task, find_task
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import classifier_from, load_plain, pick_device
from zskd.teacher.load import load_teacher

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Saved:
    """A loaded classifier.

    Attributes:
        labels: names of its classes, in the order of its logits.
        texts: number of texts of an input; None if neither task, run nor ``config.json`` tell.
        reason: where `texts` comes from, for messages.
        max_length: tokens; longer inputs are cut. It is the model's own length if none was asked for, or that of the
            task for a callable.
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


def _task_of(folder: Path) -> Task | None:
    """Task of the run that a student's folder belongs to."""
    if folder.name != "student":
        return None
    try:
        record, options = read_part(folder.parent, "record.json"), read_part(folder.parent, "config.yaml")
    except InputError:
        return None  # not a student's folder
    return None if record is None or options is None else recorded_task(record)


def check_own_student(name: str) -> None:
    """Check the weights of a model folder that is the student of a finished run; see `check_student`."""
    folder = expanded(name)
    if folder.name == "student" and is_file(folder.parent / "config.yaml"):
        check_student(folder.parent)


def pick_length(classifier: Teacher, asked: int | None, task: Task | None, *, shown: str) -> int:
    """Tokens to which inputs are cut: as many as were asked for, or as the model reads.

    Args:
        asked: ``--max-length``.
        task: whose length is used where the classifier has none of its own, which is a callable.
        shown: flag and value to quote in the message.

    Raises:
        InputError: the model cannot read as many as were asked for.
    """
    if asked is not None:
        classifier.check_length(asked, shown)
        return asked
    return classifier.reading_length or (task or Task).max_length


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
        max_length: overrides the model's own length.

    Raises:
        InputError: the classifier cannot be loaded, its labels are not the task's, or it cannot read `max_length`
            tokens.
    """
    cache, name = cache_root(cache_dir), student_folder(name)
    check_own_student(name)
    if task_name:
        task = find_task(task_name)
        classifier = load_teacher(task, name, cache, None, label_map, flag=flag)
        reason = f"--task {task_name}"
        length = pick_length(classifier, max_length, task, shown=f"{flag} {name}")
        return Saved(classifier, task.labels, len(task.text_columns), reason, length, task)
    model, tokenizer, commit = load_plain(name, cache, None, flag=flag)
    labels = tuple(label_names(model.config.to_dict(), f"{flag} {name}"))
    known = _task_of(expanded(name))
    texts, reason = recorded_texts(model.config.to_dict(), f"{flag} {name}"), f"{TEXTS_FIELD} in its config.json"
    if known is not None and (tuple(known.labels) != labels or texts not in (None, len(known.text_columns))):
        known = None  # the folder contains another model by now
    if known is not None:
        texts, reason = len(known.text_columns), f"{Path(name).parent / 'record.json'} says {known.name}"
    classifier = classifier_from(None, model.to(pick_device()), tokenizer, name=name, revision=commit)
    return Saved(
        classifier=classifier,
        labels=labels,
        texts=texts,
        reason=reason,
        max_length=pick_length(classifier, max_length, known, shown=f"{flag} {name}"),
        task=known,
    )
