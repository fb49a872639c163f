"""The labelled rows of GLUE on the Hub."""

from __future__ import annotations

from zskd.errors import InputError
from zskd.hub.ask import resolve_revision
from zskd.tasks.labelled import Labelled
from zskd.tasks.task import HUB_DATA, Task


def hub_rows(task: Task, split: str, *, flag: str) -> Labelled:
    """Labelled rows of a GLUE task from the Hub.

    Raises:
        InputError: the task is not one of GLUE's, or the Hub cannot be reached; the message quotes `flag`.
    """
    from datasets import load_dataset

    if not task.hub_config:
        raise InputError(f"{flag}: {task.name} is not one of {HUB_DATA}'s tasks; give --glue-dir")
    revision = resolve_revision(HUB_DATA, None, flag=flag, repo_type="dataset")
    rows = load_dataset(HUB_DATA, task.hub_config, split=split, revision=revision)
    return Labelled(tuple(rows[column][:] for column in task.hub_columns), rows["label"][:])
