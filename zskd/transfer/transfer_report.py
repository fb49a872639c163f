"""A report of the teacher's answers on the transfer set, per family of inputs and class, made before training."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset

from zskd.metrics.scores import probabilities
from zskd.system.arrow import ROWS
from zskd.system.formatting import in_percent
from zskd.text.corpus import hash64
from zskd.text.scripts import lacks_spaces, units
from zskd.text.seen import Seen
from zskd.text.sentence_hashes import plain
from zskd.text.shaping import text_columns
from zskd.transfer.transfer_set import SHARE_DIGITS


def transfer_report(labelled: Dataset, logits: np.ndarray, labels: tuple[str, ...]) -> dict[str, Any]:
    """Counts and means per family of inputs and predicted class.

    Args:
        labelled: columns ``text``, for pairs ``text_b``, and ``family``.
        logits: ``(rows, num_labels)`` of the teacher, in the order of `labels`.

    Returns:
        ``rows``; ``duplicates`` (inputs that repeat an earlier one); ``entropy_limit`` (nats, of a uniform
        answer); and ``groups``: one entry per family and class, and per family over all classes, with
        ``family``, ``label``, ``rows``, ``share`` (of the family), mean ``confidence`` (largest probability),
        mean ``entropy`` (nats) and mean ``words``.
    """
    columns = text_columns(labelled)
    words = np.zeros(len(labelled), dtype=np.int32)
    codes: dict[str, int] = {}
    family_of = np.zeros(len(labelled), dtype=np.int16)
    seen = Seen()
    for start in range(0, len(labelled), ROWS):
        rows = labelled[start : start + ROWS]
        found = [codes.setdefault(family, len(codes)) for family in rows["family"]]
        family_of[start : start + len(found)] = found
        texts = ["\t".join(parts) for parts in zip(*(rows[name] for name in columns), strict=True)]
        words[start : start + len(texts)] = [len(units(text) if lacks_spaces(text) else text.split()) for text in texts]
        for text in texts:
            seen.add(hash64(text.lower()))
    p = probabilities(logits)
    predicted, confidence = p.argmax(axis=1), p.max(axis=1)
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=1)
    groups = []
    for family in sorted(codes):
        of_family = family_of == codes[family]
        for label, chosen in [("all", of_family), *((n, of_family & (predicted == i)) for i, n in enumerate(labels))]:
            count = int(chosen.sum())
            means = {
                name: round(float(values[chosen].mean()), 4) if count else None
                for name, values in (("confidence", confidence), ("entropy", entropy), ("words", words))
            }
            share = round(count / int(of_family.sum()), SHARE_DIGITS)
            groups.append({"family": family, "label": label, "rows": count, "share": share, **means})
    return {
        "rows": len(labelled),
        "duplicates": len(labelled) - len(seen),
        "entropy_limit": round(float(np.log(len(labels))), 4),
        "groups": groups,
    }


def report_table(report: dict[str, Any], labels: tuple[str, ...]) -> str:
    """The report as text: one line per family with the share of every class."""
    entries = {(group["family"], group["label"]): group for group in report["groups"]}
    width = max(len(label) for label in labels) + 2
    lines = [
        f"{'family':16}{'inputs':>9}{'words':>7}{'confidence':>12}{'entropy':>9}"
        + "".join(f"{label:>{max(width, 10)}}" for label in labels)
    ]
    for family in dict.fromkeys(group["family"] for group in report["groups"]):
        whole = entries[family, "all"]
        shares = "".join(f"{in_percent(entries[family, label]['share']):>{max(width, 10) - 2}} %" for label in labels)
        lines.append(
            f"{family:16}{whole['rows']:>9,}{whole['words']:>7.1f}{whole['confidence']:>12.3f}{whole['entropy']:>9.3f}"
            + shares
        )
    lines.append(f"{report['rows']:,} inputs, {report['duplicates']:,} of them duplicates of others")
    return "\n".join(lines)


def overlap(evaluation: tuple[list[str], ...], labelled: Dataset) -> int:
    """Number of evaluation rows of which a text is also in the transfer set, ignoring case."""
    columns = text_columns(labelled)
    wanted = {plain(text) for texts in evaluation for text in texts}
    found: set[str] = set()
    for start in range(0, len(labelled), ROWS):
        rows = labelled[start : start + ROWS]
        for name in columns:
            found.update(wanted.intersection(map(plain, rows[name])))
    return sum(any(plain(text) in found for text in row) for row in zip(*evaluation, strict=True))
