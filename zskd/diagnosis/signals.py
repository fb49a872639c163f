"""The signals in a teacher's logits on a transfer set: pure functions of arrays, in float64.

The levels are those of Tang et al. (2020): how confident the teacher is (instance), and how it distributes the rest
over the other classes (domain).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zskd.metrics.scores import reliability, softmax

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HISTOGRAM = 20  # bars between a uniform guess (1/K) and 1
CLASS_ROWS = 20  # classes with fewer answers are left out of the flatness
SURE = 0.99  # confidence above which kd and cross-entropy hardly differ
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0)


def summary(values: np.ndarray) -> dict[str, float]:
    """``mean``, ``std`` and the quantiles ``p05`` ... ``p95`` of numbers ``(rows,)``."""
    found = {"mean": float(values.mean()), "std": float(values.std())}
    points = np.quantile(values, QUANTILES)
    return found | {f"p{100 * q:02.0f}": float(v) for q, v in zip(QUANTILES, points, strict=True)}


def instance_signal(logits: np.ndarray) -> dict[str, Any]:
    """How confident the teacher is, from logits ``(rows, num_labels)``.

    Returns:
        ``confidence``: `summary` of the largest probability; ``sure``: share of rows above `SURE`; ``histogram``:
        ``edges`` and ``shares`` of the confidence; ``by_temperature``: mean confidence at each of `TEMPERATURES`;
        ``margin``: `summary` of the largest logit less the mean of the others.
    """
    num_labels = logits.shape[1]
    confidence = softmax(logits).max(axis=1)
    counts, edges = np.histogram(confidence, bins=HISTOGRAM, range=(1 / num_labels, 1.0))
    largest = logits.max(axis=1).astype(np.float64)
    margin = largest - (logits.sum(axis=1, dtype=np.float64) - largest) / (num_labels - 1)
    return {
        "confidence": summary(confidence),
        "sure": float((confidence > SURE).mean()),
        "histogram": {"edges": edges.tolist(), "shares": (counts / len(logits)).tolist()},
        "by_temperature": {str(t): float(softmax(logits / t).max(axis=1).mean()) for t in TEMPERATURES},
        "margin": summary(margin),
    }


def rest_entropy(logits: np.ndarray) -> np.ndarray:
    """Entropy ``(rows,)`` of the renormalised probabilities of all classes but the largest, as a share of log(K - 1).

    It is 1 if all other classes are equally probable, as in the target of label smoothing.

    Args:
        logits: ``(rows, num_labels)`` with three classes or more.
    """
    rows, num_labels = logits.shape
    others = np.ones(logits.shape, dtype=bool)
    others[np.arange(rows), logits.argmax(axis=1)] = False
    rest = softmax(logits[others].reshape(rows, num_labels - 1))
    return np.asarray(-(rest * np.log(rest.clip(min=1e-300))).sum(axis=1) / np.log(num_labels - 1))


def flatness(logits: np.ndarray) -> float:
    """How uneven the logits of the other classes are relative to the margin; 0 if they are even.

    For each row, it is the standard deviation of the other logits, divided by the distance of the largest logit from
    their mean. A class has the median over the half of its rows with the larger margin; the result is the median over
    classes with at least `CLASS_ROWS` rows. It does not depend on the temperature, so an unsure teacher is not mistaken
    for a smoothed one.

    Args:
        logits: ``(rows, num_labels)`` with three classes or more.
    """
    answers, ordered = logits.argmax(axis=1), np.sort(logits.astype(np.float64), axis=1)
    margin = ordered[:, -1] - ordered[:, :-1].mean(axis=1)
    uneven = ordered[:, :-1].std(axis=1) / margin.clip(min=1e-9)
    per_class = []
    for label in np.flatnonzero(np.bincount(answers) >= CLASS_ROWS):
        own = answers == label
        per_class.append(float(np.median(uneven[own & (margin >= np.median(margin[own]))])))
    return float(np.median(per_class)) if per_class else float(np.median(uneven))


def logit_correlation(logits: np.ndarray) -> np.ndarray:
    """Correlations ``(num_labels, num_labels)`` over the rows between classes' logits, each row centred first.

    The rows of a class whose logit never changes are 0, but for the 1 on the diagonal.
    """
    centred = logits.astype(np.float64) - logits.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=0)
    norms = np.linalg.norm(centred, axis=0)
    unit = np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 1e-9)
    found = unit.T @ unit
    np.fill_diagonal(found, 1.0)
    return np.asarray(found.clip(-1.0, 1.0))


def domain_signal(logits: np.ndarray, cosines: np.ndarray | None = None) -> dict[str, Any] | None:
    """How the teacher relates classes; None for two classes.

    Args:
        logits: ``(rows, num_labels)``.
        cosines: ``(num_labels, num_labels)`` of the output layer, None for a black box.

    Returns:
        ``entropy``: `summary` of `rest_entropy`; ``flatness``: see `flatness`; ``similarity``: matrices
        ``output_layer`` (cosines, or None) and ``predictions`` (`logit_correlation`).
    """
    if logits.shape[1] == 2:
        return None
    entropy = rest_entropy(logits)
    return {
        "entropy": summary(entropy),
        "flatness": flatness(logits),
        "similarity": {
            "output_layer": None if cosines is None else cosines.astype(np.float64).tolist(),
            "predictions": logit_correlation(logits).tolist(),
        },
    }


def information(logits: np.ndarray) -> float:
    """Mutual information of text and predicted class, as a share of log K, 0 to 1.

    It is the entropy of the mean prediction minus the mean entropy of the predictions. It is 0 for a teacher that gives
    all texts the same answer, confident or not.
    """
    p = softmax(logits)
    mean = p.mean(axis=0)
    entropies = [-(part * np.log(part.clip(min=1e-300))).sum(axis=-1) for part in (mean, p)]
    return float((entropies[0] - entropies[1].mean()) / np.log(logits.shape[1]))


def separations(logits: np.ndarray) -> list[dict[str, Any]]:
    """How clearly the teacher separates each pair of classes when it answers one of them; least separated first.

    Returns:
        Per pair: ``classes`` (two indices); ``rows`` whose answer is one of them; ``apart``, the median over these rows
        of |p_a - p_b| / (p_a + p_b); and ``separation``, the median of |z_a - z_b| divided by the median distance of
        the larger logit from all other classes. ``separation`` does not depend on the temperature and is near 0 if the
        teacher does not distinguish the classes. Both are None without rows; ``separation`` also for two classes.
    """
    answers = logits.argmax(axis=1)
    found: list[dict[str, Any]] = []
    for a in range(logits.shape[1]):
        for b in range(a + 1, logits.shape[1]):
            rows = logits[(answers == a) | (answers == b)].astype(np.float64)
            entry: dict[str, Any] = {"classes": [a, b], "rows": len(rows), "apart": None, "separation": None}
            if len(rows):
                inner = np.abs(rows[:, a] - rows[:, b])
                # |p_a - p_b| / (p_a + p_b) is the hyperbolic tangent of half the logits' difference.
                entry["apart"] = float(np.median(np.tanh(inner / 2)))
                others = np.delete(rows, [a, b], axis=1)
                if others.shape[1]:
                    outer = np.median(rows[:, [a, b]].max(axis=1) - others.max(axis=1))
                    entry["separation"] = float(np.median(inner) / max(outer, 1e-9))
            found.append(entry)
    return sorted(found, key=lambda pair: (pair["separation"] is None, pair["separation"] or 0.0))


def levels(logits: np.ndarray) -> dict[str, float]:
    """How far the targets of the levels are apart: the mean total variation between them, 0 to 1.

    Returns:
        ``domain``: between the teacher's distribution and KD-pt's, which has no class relations; ``instance``: between
        KD-pt's and the plain class. If one is near 0, the objectives that differ by it coincide.
    """
    p = softmax(logits)
    rows, answers = np.arange(len(p)), p.argmax(axis=1)
    rest = (1 - p[rows, answers]) / (p.shape[1] - 1)
    spread = np.broadcast_to(rest[:, None], p.shape).copy()
    spread[rows, answers] = p[rows, answers]
    return {
        "domain": float(np.abs(p - spread).sum(axis=1).mean() / 2),
        "instance": float(1 - p[rows, answers].mean()),
    }


def rescaling(logits: np.ndarray, student: np.ndarray | None = None) -> np.ndarray:
    """Gradient of KD divided by that of cross-entropy, for the teacher's class, ``(rows,)``, at T = 1 (Proposition 1).

    Args:
        logits: the teacher's ``(rows, num_labels)``.
        student: the student's; None for an untrained student, to which all classes are equally probable.
    """
    rows, answers = np.arange(len(logits)), logits.argmax(axis=1)
    q = np.full(len(logits), 1 / logits.shape[1]) if student is None else softmax(student)[rows, answers]
    p = softmax(logits)[rows, answers]
    return np.asarray((p - q) / (1 - q).clip(min=1e-6))


def measure(
    logits: np.ndarray,
    *,
    cosines: np.ndarray | None = None,
    student: np.ndarray | None = None,
    labelled: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, Any]:
    """All signals of a teacher; the keys are described in `zskd.diagnosis.diagnose`.

    Args:
        logits: on the transfer set, ``(rows, num_labels)``, in the task's class order.
        cosines: of the output layer, ``(num_labels, num_labels)``.
        student: the student's logits on the same rows.
        labelled: logits ``(rows, num_labels)`` and gold labels ``(rows,)`` of labelled rows.
    """
    p = softmax(logits)
    answers = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1]) / len(logits)
    calibration = None
    if labelled is not None:
        known, expected = labelled
        calibration = {
            "rows": len(expected),
            "accuracy": float((known.argmax(axis=1) == expected).mean()),
            "confidence": float(softmax(known).max(axis=1).mean()),
            **reliability(known, expected),
        }
    return {
        "instance": instance_signal(logits),
        "domain": domain_signal(logits, cosines),
        "classes": {"share": answers.tolist(), "probability": p.mean(axis=0).tolist()},
        "information": information(logits),
        "separation": separations(logits),
        "levels": levels(logits),
        "rescaling": {
            "untrained": summary(rescaling(logits)),
            "student": None if student is None else summary(rescaling(logits, student)),
        },
        "calibration": calibration,
    }
