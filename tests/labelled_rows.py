"""Prose made in memory, labelled rows of any task from it, and two tasks of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from recipes.tiny import prose
from zskd.tasks.labelled import Labelled
from zskd.tasks.task import Task

# Tasks of one's own. What a headline of the first is about is told by its subject, which out-of-domain prose has too.
TOPIC_WORDS = {
    "water": ("river", "harbour"),
    "land": ("mountain", "village"),
    "transport": ("engine", "railway"),
    "art": ("painter", "museum"),
    "building": ("library", "bridge"),
}
TOPICS = {
    "text_columns": ["headline"],
    "label_column": "topic",
    "labels": list(TOPIC_WORDS),
    "probe": "probe.tsv",
    "max_length": 32,
}
ANSWERS = {
    "text_columns": ["article", "question"],
    "label_column": "answered",
    "labels": ["in full", "in part", "not at all"],
    "inputs": ["passage", "question"],
    "file_labels": {"F": "in full", "P": "in part", "N": "not at all"},
    "dev_files": {"dev": "dev.tsv", "late": "late.tsv"},
}


def topic(text: str) -> int:
    """Class of a headline: that of its subject; 0 where it has none."""
    words = text.lower().split()
    return next((i for i, known in enumerate(TOPIC_WORDS.values()) if any(word in words for word in known)), 0)


def rows_for(task: Task, count: int, seed: int = 0) -> Labelled:
    """Labelled rows of prose; the label is told by the topic of the last text."""
    texts = tuple(prose(count, seed=100 * seed + side + 7) for side in range(len(task.text_columns)))
    return Labelled(texts, [topic(text) % task.num_labels for text in texts[-1]])


def write_rows(path: Path, task: Task, rows: Labelled) -> Path:
    """A labelled file in the task's columns, with one more that nothing reads."""
    in_file = {name: key for key, name in reversed(task.file_labels.items())}
    lines = [["index", task.label_column, *task.text_columns]]
    for i, label in enumerate(rows.labels):
        lines.append([str(i), in_file[task.labels[label]], *(texts[i] for texts in rows.texts)])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map("\t".join, lines)) + "\n", encoding="utf-8")
    return path


def glue_folder(root: Path, task: Task, count: int = 24) -> Path:
    """A folder in GLUE's layout with every labelled file of a task."""
    for number, name in enumerate((*task.dev_files.values(), "train.tsv")):
        write_rows(root / task.folder / name, task, rows_for(task, count, seed=number))
    return root


def task_file(path: Path, values: Any) -> str:
    """A task file; the value of --task for it."""
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return str(path)
