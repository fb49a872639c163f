"""Which rows of a pool repeat the texts of an earlier row."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from zskd.system.arrow import ROWS
from zskd.text.corpus import hash64


def distinct_rows(texts: Dataset) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows that no earlier row equals in all columns, and for every row which of them it equals.

    Beside the texts of a few thousand rows, this takes some 50 bytes of memory for each row. Rows of equal hash are
    compared by value. Two different texts of equal hash, which no pool has by chance, stay rows of their own, as do
    repetitions of the second.

    Args:
        texts: columns of strings.

    Returns:
        Row numbers ``(distinct,)`` int64, ascending, and places among them ``(rows,)`` int64; None if no row repeats
        another.

    Example:
        >>> from datasets import Dataset
        >>> rows, places = distinct_rows(Dataset.from_dict({"text": ["b", "a", "b", "c"]}))
        >>> rows.tolist(), places.tolist()
        ([0, 1, 3], [0, 1, 0, 2])
    """
    hashes = _hashes(texts)
    order = np.argsort(hashes, kind="stable")  # rows of equal hash in their own order
    new = np.ones(len(order), dtype=bool)
    new[1:] = hashes[order[1:]] != hashes[order[:-1]]
    if new.all():
        return None
    first = np.empty_like(order)
    first[order] = order[np.flatnonzero(new)[np.cumsum(new) - 1]]
    del hashes, order, new
    rows = np.arange(len(first))
    repeats = np.flatnonzero(first != rows)
    for start in range(0, len(repeats), ROWS):
        part = repeats[start : start + ROWS]
        pairs = zip(_values(texts, part), _values(texts, first[part]), strict=True)
        other = part[[here != there for here, there in pairs]]
        first[other] = other
    kept = first == rows
    places = (np.cumsum(kept) - 1)[first]
    return (np.flatnonzero(kept), places) if not kept.all() else None


def _hashes(texts: Dataset) -> np.ndarray:
    """A hash of each row, ``(rows,)`` uint64, the same in every process."""
    found = np.empty(len(texts), dtype=np.uint64)
    for start in range(0, len(texts), ROWS):
        part = texts[start : start + ROWS]
        # With the lengths, which tell ("a", "b") from ("ab", "").
        joined = ("".join(f"{len(text)} {text}" for text in row) for row in zip(*part.values(), strict=True))
        hashes = [hash64(text) for text in joined]
        found[start : start + len(hashes)] = hashes
    return found


def _values(texts: Dataset, rows: np.ndarray) -> list[tuple[str, ...]]:
    """The texts of the given rows."""
    return list(zip(*texts[rows].values(), strict=True))
