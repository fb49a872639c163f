"""The labelled rows of GLUE on the Hub."""

from __future__ import annotations

from zskd.errors import InputError
from zskd.hub.ask import resolve_revision
from zskd.system.plain_text import Repairs
from zskd.tasks.labelled import Labelled
from zskd.tasks.task import HUB_DATA, Task


def hub_rows(task: Task, split: str, *, flag: str) -> Labelled:
    """Labelled rows of a GLUE task from the Hub.

    Raises:
        InputError: the task is not one of GLUE's, the Hub cannot be reached, or a row has no text or no label; the
            message quotes `flag`.
    """
    from datasets import load_dataset

    if not task.hub_config:
        raise InputError(f"{flag}: {task.name} is not one of {HUB_DATA}'s tasks; give --glue-dir")
    revision = resolve_revision(HUB_DATA, None, flag=flag, repo_type="dataset")
    rows = load_dataset(HUB_DATA, task.hub_config, split=split, revision=revision)
    name, repairs = f"{flag}: {HUB_DATA} {task.hub_config} {split}", Repairs()
    texts: tuple[list[str], ...] = tuple([] for _ in task.hub_columns)
    for store, column in zip(texts, task.hub_columns, strict=True):
        for number, text in enumerate(rows[column][:]):
            if not isinstance(text, str):
                raise InputError(f"{name}, row {number}: expected text in `{column}`, found {text!r}")
            store.append(repairs.repair(text, f"{name}, row {number}"))
    repairs.say()
    labels = rows["label"][:]
    for number, label in enumerate(labels):
        if label not in range(task.num_labels):
            raise InputError(
                f"{name}, row {number}: expected a label from 0 to {task.num_labels - 1}, found {label!r}; test rows "
                "have none"
            )
    return Labelled(texts, labels)
