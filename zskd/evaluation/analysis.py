"""Latency of teacher and student, part of ``RUN/analysis.json``, from which the report and the model card are made."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from zskd.teacher.base import Teacher

LATENCY_CALLS = 30
LATENCY_BATCH = 32
BATCH_CALLS = 7

Texts = tuple[list[str], ...]


def latency(classifiers: dict[str, Teacher], texts: Texts, max_length: int) -> dict[str, dict[str, Any]]:
    """How fast classifiers with weights answer on their device, tokenization included, in float32.

    Args:
        classifiers: by name; they are asked in turns, see `time_answers`.
        texts: one or two lists of at least one text; they are repeated if there are too few.

    Returns:
        Per classifier what `time_answers` measures, ``device``, and ``threads`` (of the CPU, as torch is set).
    """

    def answers(classifier: Teacher) -> Callable[[Texts], Any]:
        return lambda rows: classifier.logits(rows, max_length=max_length)

    measured = time_answers({name: answers(classifier) for name, classifier in classifiers.items()}, texts)
    where = {name: classifier.device_type for name, classifier in classifiers.items()}
    threads = torch.get_num_threads()
    return {name: {**found, "device": where[name], "threads": threads} for name, found in measured.items()}


def time_answers(
    models: dict[str, Callable[[Texts], Any]], texts: Texts, clock: Callable[[], float] = time.perf_counter
) -> dict[str, dict[str, Any]]:
    """How long functions of one or two lists of texts take.

    They are asked in turns, so that what else the machine does in the meantime slows all of them alike.

    Args:
        clock: seconds.

    Returns:
        Per model ``milliseconds``, the median of `LATENCY_CALLS` calls with one input alone, and
        ``milliseconds_quartiles``, the 25 % and 75 % quantiles of these; ``texts_per_second``, the median of
        `BATCH_CALLS` batches of `LATENCY_BATCH`, and ``texts_per_second_quartiles``.
    """
    count = len(texts[0])
    alone = [tuple([column[i % count]] for column in texts) for i in range(LATENCY_CALLS)]
    batch: Texts = tuple([column[i % count] for i in range(LATENCY_BATCH)] for column in texts)
    for answers in models.values():  # the first calls include set-up
        answers(batch)
        answers(alone[0])
    single = _in_turns(models, alone, clock)
    several = _in_turns(models, [batch] * BATCH_CALLS, clock)
    found = {}
    for name in models:
        low, median, high = (1000 * np.quantile(single[name], (0.25, 0.5, 0.75))).tolist()
        slow, usual, fast = np.quantile(LATENCY_BATCH / np.array(several[name]), (0.25, 0.5, 0.75)).tolist()
        found[name] = {
            "milliseconds": round(median, 3),
            "milliseconds_quartiles": [round(low, 3), round(high, 3)],
            "texts_per_second": round(usual, 1),
            "texts_per_second_quartiles": [round(slow, 1), round(fast, 1)],
        }
    return found


def _in_turns(
    models: dict[str, Callable[[Texts], Any]], calls: list[Texts], clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each call per model; every model is asked for a call before any is asked for the next."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    names = list(models)
    for number, rows in enumerate(calls):
        # The first of a round may find another model's data in the caches, so everyone is first in turn.
        shift = number % len(names) if names else 0
        for name in names[shift:] + names[:shift]:
            started = clock()
            models[name](rows)
            seconds[name].append(clock() - started)
    return seconds
