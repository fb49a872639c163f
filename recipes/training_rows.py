"""Rows of a task's TRAINING file: no student learns from them, so they choose settings while dev stays closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zskd.config.distillation import DistillConfig
from zskd.config.resolve import cache_root
from zskd.evaluation.scoring import predict_classes
from zskd.tasks.defaults import input_length
from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import load_classifier

ROWS = 4_000


def training_rows(task: Task, glue_dir: Path, size: int = ROWS) -> tuple[tuple[list[str], ...], np.ndarray]:
    """Texts and labels of at most `size` rows of a task's training file, the same for every setting.

    Of single texts only those that no other row contains: SST-2's file holds phrases beside their sentences.
    """
    rows = read_labelled(task, task.train_file(glue_dir))
    order = np.random.default_rng(7).permutation(len(rows.labels)).tolist()
    if not task.is_pair:
        everything = "\n".join(rows.texts[0])
        order = [i for i in order[: 4 * size] if everything.count(rows.texts[0][i]) == 1]
    chosen = np.sort(np.asarray(order[:size]))
    return tuple([text[i] for i in chosen] for text in rows.texts), np.array(rows.labels)[chosen]


def scores_there(task: Task, config: DistillConfig, student: Teacher, data: Path) -> dict[str, Any]:
    """A student on those rows: how many they are, its accuracy, that of the majority, its agreement with the teacher.

    Args:
        config: of the run.
        data: folder with ``glue/``.
    """
    texts, labels = training_rows(task, data / "glue")
    teacher = load_classifier(task, "embedded", cache_root(config.cache_dir))
    answers, expected = (predict_classes(model, texts, input_length(config), "fp32") for model in (student, teacher))
    return {
        "rows": len(labels),
        "accuracy": float((answers == labels).mean()),
        "majority": float(np.bincount(labels).max() / len(labels)),
        "agreement": float((answers == expected).mean()),
    }
