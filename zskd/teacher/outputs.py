"""Turn a callable teacher's answers into logits. It may answer with logits, probabilities, or labels only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zskd.errors import InputError
from zskd.models.labels import plain_name

EPSILON = 1.0e-3  # probability that a label leaves to all other classes together
SMALLEST = 1.0e-6  # smaller probabilities are raised to this value, so that logits stay finite
TOLERANCE = 1.0e-3  # allowed difference between 1 and the sum of a row's probabilities
ROUNDING = 1.0e-6  # allowed distance of a probability below 0 or above 1


def to_logits(answer: Any, rows: Sequence[Any], names: tuple[str, ...], outputs: str, *, shown: str) -> np.ndarray:
    """A callable's answer as logits ``(rows, num_labels)`` float32 in the callable's own class order.

    Args:
        answer: array, tensor or (nested) list.
        rows: the inputs of the call, to quote in messages.
        names: the callable's labels in its own class order.
        outputs: kind of answer. ``logits`` ``(rows, num_labels)`` are used as they are. ``probabilities``
            ``(rows, num_labels)`` become their logarithm, after values below `SMALLEST` are raised to it. ``labels``
            ``(rows,)``, class numbers or label names, become log(1 - ε) for that class and log(ε / (num_labels - 1))
            for the others, with ε = `EPSILON`.
        shown: flag and value to quote in messages.

    Raises:
        InputError: the shape is wrong, logits are not finite, probabilities are outside 0 to 1 or do not sum to 1
            within `TOLERANCE`, or a label is unknown.
    """
    if hasattr(answer, "detach"):
        answer = answer.detach().cpu()
        answer = answer.float() if answer.is_floating_point() else answer
    if outputs == "labels":
        return _from_labels(_classes(answer, rows, names, shown), len(names))
    found = _numbers(answer, rows, len(names), outputs, shown)
    if not np.isfinite(found).all():
        raise InputError(f"{shown}: expected finite {outputs}, found NaN or infinity for {rows[0]!r} or a row after it")
    return found if outputs == "logits" else _from_probabilities(found, rows, shown)


def _numbers(answer: Any, rows: Sequence[Any], num_labels: int, outputs: str, shown: str) -> np.ndarray:
    try:
        found = np.asarray(answer, dtype=np.float32)
    except (TypeError, ValueError) as error:
        hint = "; use --teacher-outputs labels for label names" if _are_words(answer) else ""
        raise InputError(f"{shown}: expected {outputs} as numbers, found: {error}{hint}") from error
    if found.shape != (len(rows), num_labels):
        hint = "; use --teacher-outputs labels for class numbers" if found.shape == (len(rows),) else ""
        raise InputError(
            f"{shown}: expected {outputs} of shape ({len(rows)}, {num_labels}) for {len(rows)} inputs, "
            f"found {found.shape}{hint}"
        )
    return found


def _are_words(answer: Any) -> bool:
    try:
        return np.asarray(answer).dtype.kind in "US"
    except ValueError:  # rows of different lengths
        return False


def _from_probabilities(found: np.ndarray, rows: Sequence[Any], shown: str) -> np.ndarray:
    off = np.abs(found.sum(axis=1, dtype=np.float64) - 1.0) > TOLERANCE
    wrong = off | (found < -ROUNDING).any(axis=1) | (found > 1 + ROUNDING).any(axis=1)
    if wrong.any():
        first = int(wrong.argmax())
        raise InputError(
            f"{shown}: expected probabilities from 0 to 1 that sum to 1 (--teacher-outputs probabilities), found "
            f"{found[first].tolist()} for {rows[first]!r}; are they logits (--teacher-outputs logits)?"
        )
    return np.log(np.clip(found, SMALLEST, 1.0))


def _classes(answer: Any, rows: Sequence[Any], names: tuple[str, ...], shown: str) -> np.ndarray:
    """Class numbers ``(rows,)``."""
    expected = f"{shown}: expected a class number or a label name for each of {len(rows)} inputs"
    try:
        found = np.asarray(answer)
    except ValueError as error:
        raise InputError(f"{expected}, found: {error}") from error
    if found.shape != (len(rows),):
        raise InputError(
            f"{expected}, found an answer of shape {found.shape}; for values per class use --teacher-outputs logits or "
            "probabilities"
        )
    if found.dtype.kind in "iuf":
        known = (found == np.floor(found)) & (found >= 0) & (found < len(names))
        classes = np.where(known, found, 0).astype(np.int64)
    else:
        numbers = {plain_name(name): i for i, name in enumerate(names)}
        own = [numbers.get(plain_name(value), -1) if isinstance(value, str) else -1 for value in found.tolist()]
        classes = np.array(own, dtype=np.int64)
        known = classes >= 0
    if not known.all():
        first = int((~known).argmax())
        raise InputError(
            f"{expected}, of 0 to {len(names) - 1} or {', '.join(names)}; found {found.tolist()[first]!r} for "
            f"{rows[first]!r}"
        )
    return classes


def _from_labels(classes: np.ndarray, num_labels: int) -> np.ndarray:
    logits = np.full((len(classes), num_labels), np.log(EPSILON / (num_labels - 1)), dtype=np.float32)
    logits[np.arange(len(classes)), classes] = np.log(1 - EPSILON)
    return logits
