"""Agreement with the teacher on text from elsewhere: on news, where a table's students learned from Wikipedia."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recipes.answers import teacher_answers
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import cache_root
from zskd.evaluation.scoring import predict_classes
from zskd.tasks.defaults import input_length
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.text.corpus import build_corpus
from zskd.text.shaping import build_pools, text_columns
from zskd.text.sources import find_sources

TEXTS = 6_000  # at most, shaped like a run's held-out text


def news_agreement(task: Task, config: DistillConfig, student: Teacher, data: Path) -> np.ndarray:
    """On which inputs made of news the student's class is the teacher's, ``(texts,)`` bool.

    The inputs are the same for every run of a task, and no run learns from them. The teacher's answers are cached.

    Args:
        config: of the run.
        data: folder with ``ood/``.
    """
    cache = cache_root(config.cache_dir)
    sources = find_sources([str(data / "ood" / name) for name in ("ag-news.txt", "abc-news.txt")])
    pools = build_pools(
        build_corpus(sources, 1.0, cache),
        inputs=task.inputs,
        size=1,  # nothing is learned from this text
        heldout=2 * TEXTS,
        perturb="none",
        seed=0,
        cache=cache,
    )
    teacher = teacher_answers(task, config, pools.report, "teacher labels news")
    texts = tuple(pools.report[name][:] for name in text_columns(pools.report))
    same: np.ndarray = teacher.argmax(axis=1) == predict_classes(student, texts, input_length(config), "fp32")
    return same
