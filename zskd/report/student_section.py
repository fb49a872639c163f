"""The student itself: how to use it, its ONNX models, and inputs that it answers otherwise than its teacher."""

from __future__ import annotations

import json
import shlex
from typing import Any

from zskd.metrics.coverage import row_for
from zskd.metrics.disagreements import MOST_ROWS, cut_text
from zskd.report.data import Run
from zskd.system.formatting import between

_AGREEMENT = 0.95  # of the example command


def usage(run: Run) -> dict[str, Any]:
    """Commands and lines of Python that use the student of this run."""
    columns = run.record.get("task", {}).get("text_columns", ())
    pair = len(columns) == 2
    folder, student = str(run.path), json.dumps(str(run.student), ensure_ascii=False)
    predict = ["zskd", "predict", "--model", folder, "--input", "texts.tsv" if pair else "texts.txt"]
    table = (run.analysis or {}).get("coverage") or []
    given = '{"text": "one text", "text_pair": "another"}' if pair else '"a text"'
    return {
        "pair": pair,
        "predict": shlex.join(predict),
        "sure": shlex.join([*predict, "--min-agreement", str(_AGREEMENT)]) if row_for(table, _AGREEMENT) else None,
        "export": shlex.join(["zskd", "export", folder, "--quantize", "int8"]),
        "python": "from transformers import pipeline\n\n"
        f"student = {student}\n"
        'classify = pipeline("text-classification", student, truncation=True)\n'
        f"print(classify({given}))",
    }


def exported(run: Run) -> dict[str, Any] | None:
    """What ``zskd export`` measured; None if nothing was exported, or the student of another training."""
    found = run.export
    if found is None or found.get("weights") != run.metrics["student"].get("sha256"):
        return None
    rows = [
        {
            "name": name,
            "bytes": entry["bytes"],
            "milliseconds": entry["milliseconds"],
            "quartiles": between(entry.get("milliseconds_quartiles") or (), 2),
            "texts_per_second": entry["texts_per_second"],
            "agreement": entry.get("agreement"),
            "accuracy": entry.get("scores", {}).get("accuracy"),
        }
        for name, entry in found["models"].items()
    ]
    return {
        **{name: found.get(name) for name in ("data", "rows", "threads", "largest_difference")},
        "models": rows,
        "compared": any(row["agreement"] is not None for row in rows),
        "scored": any(row["accuracy"] is not None for row in rows),
    }


def disagreements(run: Run) -> list[dict[str, Any]]:
    """The held-out inputs of the file, bounded here too, since others may have written to it.

    Of each model its class (``label``) with its probability (``share``), and those of the other model's class.
    """
    found = []
    rows = [row for row in run.disagreements or [] if len(row["teacher"]) == len(run.labels)]
    for row in rows[:MOST_ROWS]:
        classes = {who: max(range(len(row[who])), key=row[who].__getitem__) for who in ("teacher", "student")}
        entry = {"texts": [cut_text(text) for text in row["texts"][:2]], "divergence": row["divergence"]}
        for who, other in (("teacher", "student"), ("student", "teacher")):
            own, others = classes[who], classes[other]
            entry[who] = {
                "label": run.labels[own],
                "share": row[who][own],
                "other": run.labels[others],
                "other_share": row[who][others],
            }
        found.append(entry)
    return found


def disagreeing(run: Run) -> int | None:
    """Number of held-out inputs with another class than the teacher's; None if it is not known."""
    if run.analysis is None:
        return None
    counts = run.analysis["heldout"]["confusion"]
    return sum(map(sum, counts)) - sum(counts[i][i] for i in range(len(counts)))
