"""From signals to findings: what is wrong with a teacher, and which objective to try first.

The thresholds were set on small networks with a planted defect (`recipes.planted`, seeds below 20) and on the packaged
adapters; `tests/diagnosis` checks them on other seeds.
"""

from __future__ import annotations

import math
from typing import Any

from zskd.system.formatting import in_percent

INFORMATION = 0.1  # below: constant. Planted teachers had at most 0.05, sound ones at least 0.31.
SURE_SHARE = 0.55  # share of rows above 0.99; above: over-confident. Planted at least 0.64, sound at most 0.42.
MARGIN = 7.5  # 95 % quantile of the logits' margin; below: smoothing is looked for. Sound teachers had at least 10.
SEPARATION = 0.4  # below: the teacher does not distinguish two classes. Planted at most 0.35, sound at least 0.45.
APART = 0.7  # above: the probabilities of two classes differ clearly in spite of a small separation
PAIR_ROWS = 40  # smallest number of answers of a pair that allows a finding
BINARY_MASS = 0.02  # mean probability of all classes but two; below: the task is nearly binary
LEVEL = 0.01  # mean total variation between two targets; below: they coincide
CONFIDENT = 0.9  # mean confidence that a temperature should reach if a teacher is over-confident


def flat_below(num_labels: int) -> float:
    """The flatness below which a teacher seems smoothed; it is lower for few classes."""
    return min(0.15 * math.log2(num_labels), 0.33)


def finding(name: str, trouble: bool, message: str, **evidence: Any) -> dict[str, Any]:
    """One finding: a name, whether it is a sign of trouble, a sentence, and its evidence in numbers."""
    return {"name": name, "trouble": trouble, "message": message, "evidence": evidence}


def find(signals: dict[str, Any], labels: tuple[str, ...], outputs: str = "logits") -> list[dict[str, Any]]:
    """Findings in the signals of `zskd.diagnosis.signals.measure`, trouble first.

    For a constant teacher there are no other findings, because all signals come from the same answer. Of a teacher that
    answers with labels only, nothing but its classes is known: the probabilities are zskd's.

    Args:
        outputs: kind of the teacher's answers, ``--teacher-outputs``.
    """
    constant = _constant(signals, labels)
    if constant:
        return constant
    if outputs == "labels":
        message = (
            "labels only: the teacher answers with classes, to each of which zskd gives a confidence of "
            f"{signals['instance']['confidence']['p50']:.3f}; confidence, margin, gradients, relations of classes and "
            "calibration error come from that number and say nothing about the teacher"
        )
        return [finding("labels-only", False, message)]
    troubles = [*_merged(signals, labels), *_over_confident(signals), *_smoothed(signals, len(labels))]
    return [*troubles, *_notes(signals, labels)]


def _constant(signals: dict[str, Any], labels: tuple[str, ...]) -> list[dict[str, Any]]:
    found = signals["information"]
    if found >= INFORMATION:
        return []
    share = signals["classes"]["share"]
    at = max(range(len(share)), key=share.__getitem__)
    message = (
        f"constant: the answer says almost nothing about the text (information {found:.3f} of 1; "
        f"{100 * share[at]:.0f} % are {labels[at]}). A student would learn a prior; give other text, or another teacher"
    )
    return [finding("constant", True, message, information=found, largest_share=share[at])]


def _merged(signals: dict[str, Any], labels: tuple[str, ...]) -> list[dict[str, Any]]:
    if len(labels) == 2:
        return []
    found = []
    for pair in signals["separation"]:
        if pair["rows"] < PAIR_ROWS or pair["separation"] >= SEPARATION or pair["apart"] > APART:
            continue
        a, b = (labels[i] for i in pair["classes"])
        message = (
            f"merged classes: {a} and {b} are not told apart where one of them is the answer (their logits differ by "
            f"{pair['separation']:.2f} of what sets them off from the others, on {pair['rows']} texts). The student "
            "cannot learn what sets them apart"
        )
        found.append(finding("merged-classes", True, message, **pair))
    return found


def _over_confident(signals: dict[str, Any]) -> list[dict[str, Any]]:
    sure = signals["instance"]["sure"]
    if sure <= SURE_SHARE:
        return []
    message = (
        f"over-confident: {in_percent(sure, 0)} % of the texts have a confidence above 0.99, text of other kinds "
        "included. All count alike, and little is left of what kd adds to the plain class"
    )
    known, evidence = signals["calibration"], {"sure": sure}
    if known is not None:
        evidence |= {"accuracy": known["accuracy"], "confidence": known["confidence"]}
        message += f" (on labelled rows: confidence {known['confidence']:.2f}, accuracy {known['accuracy']:.2f})"
    return [finding("over-confident", True, message, **evidence)]


def _smoothed(signals: dict[str, Any], num_labels: int) -> list[dict[str, Any]]:
    if num_labels == 2:
        return []  # two classes have no domain level, and a small margin alone may also be honest doubt
    flatness, margin = signals["domain"]["flatness"], signals["instance"]["margin"]["p95"]
    if flatness >= flat_below(num_labels) or margin >= MARGIN:
        return []
    message = (
        f"label-smoothed: the classes that are not the answer get almost even logits (flatness {flatness:.2f}, sound "
        f"teachers have more than {flat_below(num_labels):.2f}) and the margin ends at {margin:.1f}. Smoothing has "
        "erased which classes are alike"
    )
    return [finding("label-smoothed", True, message, flatness=flatness, margin=margin)]


def _notes(signals: dict[str, Any], labels: tuple[str, ...]) -> list[dict[str, Any]]:
    if len(labels) == 2:
        return [finding("two-classes", False, "two classes: kd, kd-pt and kd-topk are the same, kd-sim is smoothing")]
    mass = signals["classes"]["probability"]
    first, second = sorted(range(len(mass)), key=mass.__getitem__, reverse=True)[:2]
    rest = 1 - mass[first] - mass[second]
    notes = []
    if rest < BINARY_MASS:
        message = (
            f"nearly binary: {labels[first]} and {labels[second]} hold {100 * (1 - rest):.1f} % of the probability; "
            "the levels nearly coincide, as with two classes"
        )
        notes.append(finding("nearly-binary", False, message, rest=rest))
    if signals["levels"]["domain"] < LEVEL:
        distance = signals["levels"]["domain"]
        message = f"kd and kd-pt nearly coincide: their targets differ by {distance:.3f} on average"
        notes.append(finding("no-domain-signal", False, message, domain=distance))
    return notes


def advise(signals: dict[str, Any], found: list[dict[str, Any]], num_labels: int, pair: bool = False) -> dict[str, Any]:
    """What to try first: ``objective`` (None: do not distil), ``temperature`` and ``why``.

    Args:
        pair: whether the task's inputs have two texts.
    """
    names = {item["name"] for item in found}
    if "constant" in names:
        return {"objective": None, "temperature": None, "why": "there is nothing to learn from a constant teacher"}
    if "labels-only" in names:
        why = "the teacher answers with classes only, and this objective uses nothing else"
        return {"objective": "hard-label", "temperature": 1.0, "why": why}
    if "over-confident" in names:
        means = signals["instance"]["by_temperature"]
        low = next((float(t) for t, mean in means.items() if mean <= CONFIDENT), None)
        if low is None:
            why = f"no temperature up to {list(means)[-1]} brings the mean confidence to {CONFIDENT}"
            return {"objective": "logit-mse", "temperature": 1.0, "why": f"{why}; logits still differ where it is sure"}
        why = f"at T = {low:g} the mean confidence is {means[str(low)]:.2f}, so that inputs differ again"
        return {"objective": "kd", "temperature": low, "why": why}
    if "label-smoothed" in names:
        why = "its confidence still differs between inputs, its class relations are gone; a higher T flattens both"
        return {"objective": "kd-pt", "temperature": 1.0, "why": why}
    if "merged-classes" in names:
        why = "kd passes the doubt between the merged classes on; a hard label would turn it into noise"
        return {"objective": "kd", "temperature": 1.0, "why": why}
    if num_labels == 2 and not pair:
        why = "with two classes there is one level; matching logits was better than matching probabilities on one text"
        return {"objective": "logit-mse", "temperature": 1.0, "why": why}
    if num_labels == 2:
        why = "with two classes there is one level, and the confidence varies"
        return {"objective": "kd", "temperature": 1.0, "why": why}
    why = "confidence and class relations both vary, and kd has both"
    return {"objective": "kd", "temperature": 1.0, "why": why}
