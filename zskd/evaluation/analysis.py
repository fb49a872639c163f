"""Latency of teacher and student, part of ``RUN/analysis.json``, from which the report and the model card are made."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from zskd.teacher.base import Teacher

LATENCY_CALLS = 30
LATENCY_BATCH = 32


def latency(classifier: Teacher, texts: tuple[list[str], ...], max_length: int) -> dict[str, Any]:
    """How fast a classifier with weights answers on its device, tokenization included, in float32.

    Args:
        texts: one or two lists of at least one text; they are repeated if there are too few.

    Returns:
        ``milliseconds``, the median time of one input asked alone; ``texts_per_second`` in batches of `LATENCY_BATCH`;
        ``device`` and ``threads`` (of the CPU, as torch is set).
    """
    measured = time_answers(lambda rows: classifier.logits(rows, max_length=max_length), texts)
    return {**measured, "device": classifier.device_type, "threads": torch.get_num_threads()}


def time_answers(answers: Callable[[tuple[list[str], ...]], Any], texts: tuple[list[str], ...]) -> dict[str, float]:
    """``milliseconds`` and ``texts_per_second`` of a function of one or two lists of texts; see `latency`."""

    def seconds(rows: tuple[list[str], ...]) -> float:
        started = time.perf_counter()
        answers(rows)
        return time.perf_counter() - started

    count = len(texts[0])
    single = [tuple([column[i % count]] for column in texts) for i in range(LATENCY_CALLS)]
    batch = tuple([column[i % count] for i in range(LATENCY_BATCH)] for column in texts)
    seconds(batch)  # the first call includes set-up
    alone = statistics.median(seconds(row) for row in single)
    together = min(seconds(batch) for _ in range(3))
    return {
        "milliseconds": round(1000 * alone, 3),
        "texts_per_second": round(LATENCY_BATCH / together, 1),
    }
