"""Beyond one number: where student and teacher differ, how honest their confidence is, and how fast they answer.

Content of ``RUN/analysis.json``, from which the report and the model card are made.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from zskd.teacher.classifier import Classifier
from zskd.teacher.labelling import predict_logits
from zskd.transfer.selection import probabilities

BINS = 10  # of equal width over the confidence, as in Guo et al. (2017)
LATENCY_CALLS = 30
LATENCY_BATCH = 32


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits ``(rows, num_labels)``, in float64."""
    return probabilities(logits.astype(np.float64))


def confusion(expected: np.ndarray, found: np.ndarray, num_labels: int) -> list[list[int]]:
    """Counts ``[num_labels][num_labels]``: row = expected class, column = found class, both ``(rows,)``."""
    counts = np.zeros((num_labels, num_labels), dtype=np.int64)
    np.add.at(counts, (expected, found), 1)
    return [[int(value) for value in row] for row in counts]


def reliability(logits: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """How confidence and accuracy go together.

    Args:
        logits: ``(rows, num_labels)``.
        expected: class indices ``(rows,)``: gold labels, or the teacher's classes.

    Returns:
        ``ece``, the expected calibration error (Guo et al., 2017: the mean over rows of how far the accuracy of a
        row's bin is from the bin's mean confidence), and ``bins``: the non-empty ones of `BINS`, each with ``low``,
        ``high``, ``rows``, ``confidence`` and ``accuracy`` (means).
    """
    confidence, right = softmax(logits).max(axis=1), logits.argmax(axis=1) == expected
    places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = []
    for place in range(BINS):
        inside = places == place
        if inside.any():
            bins.append(
                {
                    "low": place / BINS,
                    "high": (place + 1) / BINS,
                    "rows": int(inside.sum()),
                    "confidence": float(confidence[inside].mean()),
                    "accuracy": float(right[inside].mean()),
                }
            )
    error = sum(entry["rows"] * abs(entry["confidence"] - entry["accuracy"]) for entry in bins) / len(confidence)
    return {"ece": float(error), "bins": bins}


def compare(logits: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """`confusion` and `reliability` of one model's logits ``(rows, num_labels)`` against classes ``(rows,)``."""
    found = logits.argmax(axis=1)
    return {
        "rows": len(expected),
        "confusion": confusion(expected, found, logits.shape[1]),
        "reliability": reliability(logits, expected),
    }


def latency(classifier: Classifier, texts: tuple[list[str], ...], max_length: int) -> dict[str, Any]:
    """How fast a classifier answers on the device it is on, tokenization included, float32.

    Args:
        texts: one or two lists of at least one text; they are repeated where there are too few.

    Returns:
        ``milliseconds``, the median time of one input asked alone; ``texts_per_second`` in batches of `LATENCY_BATCH`;
        ``device`` and ``threads`` (of the CPU, as torch is set).
    """
    measured = time_answers(
        lambda rows: predict_logits(classifier, rows, max_length=max_length, precision="fp32"), texts
    )
    return {**measured, "device": classifier.model.device.type, "threads": torch.get_num_threads()}


def time_answers(answers: Callable[[tuple[list[str], ...]], Any], texts: tuple[list[str], ...]) -> dict[str, float]:
    """``milliseconds`` and ``texts_per_second`` of any function of one or two lists of texts; see `latency`."""

    def seconds(rows: tuple[list[str], ...]) -> float:
        started = time.perf_counter()
        answers(rows)
        return time.perf_counter() - started

    count = len(texts[0])
    single = [tuple([column[i % count]] for column in texts) for i in range(LATENCY_CALLS)]
    batch = tuple([column[i % count] for i in range(LATENCY_BATCH)] for column in texts)
    seconds(batch)  # the first call pays for set-up
    alone = statistics.median(seconds(row) for row in single)
    together = min(seconds(batch) for _ in range(3))
    return {
        "milliseconds": round(1000 * alone, 3),
        "texts_per_second": round(LATENCY_BATCH / together, 1),
    }
