"""Which labelled inputs the student learns from, and how often: the teacher's confidence, the balance of its classes.

With both settings at their neutral values (0 and 1) every input stays, once, and the rows are not touched.
"""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from zskd.system.arrow import ROWS

def teacher_logits(dataset: Dataset, order: tuple[int, ...]) -> np.ndarray:
    """Logits ``(rows, num_labels)`` float32 of a labelled data set, in the task's class order."""
    column = dataset.select_columns("teacher_logits").with_format("arrow")
    logits = np.empty((len(dataset), len(order)), dtype=np.float32)
    for start in range(0, len(dataset), ROWS):
        part = column[start : start + ROWS]["teacher_logits"].combine_chunks()
        logits[start : start + len(part)] = part.flatten().to_numpy(zero_copy_only=False).reshape(len(part), -1)
    return logits[:, list(order)]


