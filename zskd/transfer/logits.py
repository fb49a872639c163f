"""The teacher's logits of a labelled data set as one array."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from zskd.system.arrow import ROWS


def teacher_logits(dataset: Dataset) -> np.ndarray:
    """Logits ``(rows, num_labels)`` float32 of a labelled data set, in the task's class order."""
    column = dataset.select_columns("teacher_logits").with_format("arrow")
    num_labels = len(dataset[0]["teacher_logits"])
    logits = np.empty((len(dataset), num_labels), dtype=np.float32, order="F")  # the layout that `Teacher.logits` has
    for start in range(0, len(dataset), ROWS):
        part = column[start : start + ROWS]["teacher_logits"].combine_chunks()
        logits[start : start + len(part)] = part.flatten().to_numpy(zero_copy_only=False).reshape(len(part), -1)
    return logits
