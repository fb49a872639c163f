"""What a task's packaged teacher answers to a set of texts, cached."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from zskd.config.distillation import DistillConfig
from zskd.config.resolve import cache_root
from zskd.tasks.defaults import input_length
from zskd.tasks.task import Task
from zskd.teacher.classifier import load_classifier
from zskd.teacher.labelling import label_texts
from zskd.transfer.logits import teacher_logits


def teacher_answers(task: Task, config: DistillConfig, texts: Dataset, description: str) -> np.ndarray:
    """The teacher's logits ``(texts, num_labels)`` float32, in the task's class order, as a run of `config` has them.

    Args:
        texts: columns ``text`` and, for pairs, ``text_b``.
        description: of the progress bar.
    """
    cache = cache_root(config.cache_dir)
    teacher = load_classifier(task, config.teacher, cache)
    precision = teacher.precision(config.precision)
    labelled = label_texts(
        texts,
        teacher.for_inference(precision),
        cache,
        max_length=input_length(config),
        precision=precision,
        description=description,
    )
    return teacher_logits(labelled.dataset)
