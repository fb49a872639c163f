"""Where the pairs of a transfer set stand: by their common content words and by their similarity, and what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset

from zskd.metrics.scores import probabilities
from zskd.models.sentence_encoder import SentenceEncoder
from zskd.system.formatting import in_percent
from zskd.text.synonyms import overlap_of
from zskd.transfer.transfer_set import SHARE_DIGITS

SAMPLED = 4_000  # pairs that are looked at, evenly spaced
# Upper ends of the cells, each of them included.
OVERLAPS = (0.1, 0.25, 0.5, 0.75, 1.0)
COSINES = (0.3, 0.5, 0.7, 0.85, 1.0)
APART, ALIKE = 0.5, 0.7  # a pair with at most this overlap and a higher cosine says the same in other words


def pair_measures(left: list[str], right: list[str], encoder: SentenceEncoder) -> tuple[np.ndarray, np.ndarray]:
    """Overlap of content words ``(pairs,)`` and cosine ``(pairs,)`` of the two texts of each pair."""
    directions = encoder.texts([*left, *right], "encoding pairs")
    cosines = (directions[: len(left)] * directions[len(left) :]).sum(axis=1)
    return np.array([overlap_of(*pair) for pair in zip(left, right, strict=True)]), cosines


def places_of(overlaps: np.ndarray, cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places ``(pairs,)`` in `OVERLAPS` and in `COSINES` of each pair."""
    return np.searchsorted(OVERLAPS, overlaps), np.minimum(np.searchsorted(COSINES, cosines), len(COSINES) - 1)


def pair_grid(
    labelled: Dataset, logits: np.ndarray, labels: tuple[str, ...], encoder: SentenceEncoder
) -> dict[str, Any]:
    """Shares of the pairs, and of the teacher's classes, in the cells of a grid.

    Args:
        labelled: columns ``text`` and ``text_b``.
        logits: ``(rows, num_labels)`` of the teacher, in the order of `labels`.
        encoder: the cosine is that of its directions of the two texts.

    Returns:
        ``encoder`` (its name), ``pairs`` (number looked at, at most `SAMPLED`), ``apart_and_alike`` (share with an
        overlap of at most `APART` and a cosine above `ALIKE`), ``overlaps`` and ``cosines`` (upper ends of the cells),
        and ``cells``: for each that is not empty ``overlap`` and ``cosine`` (its place in those lists), ``share``
        and ``classes`` (share of each class within the cell).
    """
    size = len(labelled)
    rows = np.linspace(0, size, min(size, SAMPLED), endpoint=False, dtype=np.int64)
    sample = labelled[rows]
    overlaps, cosines = pair_measures(sample["text"], sample["text_b"], encoder)
    predicted = probabilities(logits[rows]).argmax(axis=1)
    places = places_of(overlaps, cosines)
    cells = []
    for row in range(len(OVERLAPS)):
        for column in range(len(COSINES)):
            inside = (places[0] == row) & (places[1] == column)
            if not inside.any():
                continue
            classes = {
                label: round(float((predicted[inside] == number).mean()), SHARE_DIGITS)
                for number, label in enumerate(labels)
            }
            share = round(float(inside.mean()), SHARE_DIGITS)
            cells.append({"overlap": row, "cosine": column, "share": share, "classes": classes})
    return {
        "encoder": encoder.name,
        "pairs": len(rows),
        "apart_and_alike": round(float(((overlaps <= APART) & (cosines > ALIKE)).mean()), SHARE_DIGITS),
        "overlaps": list(OVERLAPS),
        "cosines": list(COSINES),
        "cells": cells,
    }


def grid_line(grid: dict[str, Any]) -> str:
    """The grid in one line."""
    filled = sum(cell["share"] >= 0.02 for cell in grid["cells"])
    share = in_percent(grid["apart_and_alike"])
    return (
        f"pairs: {share} % of {grid['pairs']:,} have at most half of their content words in common and a cosine above "
        f"{ALIKE} ({grid['encoder']}); {filled} of {len(OVERLAPS) * len(COSINES)} cells of the grid hold at least 2 %"
    )
