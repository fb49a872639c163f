"""The model card of a finished run, made from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zskd.errors import InputError
from zskd.hub.cards import packaged_template, render_card
from zskd.models.folder_checks import student_length
from zskd.publish.metadata import PROBE, card_data, evaluation_name
from zskd.publish.origins import corpus_parts, reproducing_command, teacher_was_handed_over, teacher_words
from zskd.runs.loss import loss_of
from zskd.runs.read import FinishedRun, as_this_version_writes
from zskd.runs.wording import class_shares, is_adversarial, opened, query_words, used_given_pairs
from zskd.system.paths import expanded

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

TEMPLATE = "card.md.jinja"
_NEEDED = {
    "config.yaml": ("teacher", "student", "corpus", "max_length", "perturb", "glue_dir", "hub_eval", "seed"),
    "record.json": ("task", "versions", "corpus", "teacher", "student"),
}


def run_card(
    run: FinishedRun,
    repo_id: str,
    licence: str | None = None,
    template: str | None = None,
    *,
    onnx: Sequence[str] = (),
) -> ModelCard:
    """Render the card.

    Args:
        repo_id: the student's repository.
        licence: see `zskd.publish.metadata.card_data`.
        template: path of a Jinja template that replaces zskd's.
        onnx: ONNX models that are published beside the weights.

    Raises:
        InputError: the template does not render, or the run's files lack values that the card needs.
    """
    _check_parts(run)
    with as_this_version_writes(run.path):
        data = card_data(run, repo_id.rpartition("/")[2], licence)
        values = card_values(run, repo_id) | {"onnx": list(onnx)}
    if onnx:
        data.tags = [*(data.tags or []), "onnx", "transformers.js"]
    return render_card(expanded(template) if template else packaged_template(TEMPLATE), data, **values)


def _check_parts(run: FinishedRun) -> None:
    """Check what a report does without and a card does not, as an older zskd did not write all of it.

    Raises:
        InputError: names the file and what it lacks.
    """
    for name, found in (("config.yaml", run.config), ("record.json", run.record)):
        if absent := [key for key in _NEEDED[name] if key not in found]:
            raise InputError(f"{run.path / name}: expected {', '.join(absent)} for the model card, found none")


def card_values(run: FinishedRun, repo_id: str) -> dict[str, Any]:
    """Values for the template beside the metadata; shares are from 0 to 1."""
    metrics, task = run.metrics, run.task
    return {
        "repo_id": repo_id,
        "task": task["name"],
        "labels": task["labels"],
        "pair": len(task["text_columns"]) == 2,
        "teacher": teacher_words(run),
        "handed_over": teacher_was_handed_over(run),
        "corpus": [{"kind": kind, "name": name, "identity": i} for kind, name, i in corpus_parts(run)],
        "sentences": run.record["corpus"]["sentences"],
        "options": run.config,
        "start": _start(run),
        "reads": student_length(run.student),
        "metrics": metrics,
        "rows": _score_rows(run),
        "latency": (run.analysis or {}).get("latency"),
        "classes": _class_rows(run),
        "evaluated": [name for name in metrics["student"]["scores"] if name != PROBE],
        "names": {name: evaluation_name(run, name) for name in metrics["student"]["scores"]},
        "weakest": _weakest(run),
        "calibration": run.analysis["heldout"]["reliability"]["ece"] if run.analysis else None,
        "duplicates": (run.transfer_set or {}).get("duplicates"),
        "versions": run.record["versions"],
        "opened": opened(metrics, run.config),
        "queries": query_words(metrics),
        "classes_in_words": class_shares(metrics["transfer_set"]["classes"]),
        "loss": loss_of(run.config).words,
        "given_pairs": used_given_pairs(run.transfer_set),
        "adversarial": is_adversarial(run.config),
        "methods": [name for name in run.config.get("method") or [] if name != "adversarial"],
        "gold_rows": _gold_rows(run),
        "heldout_rows": run.analysis["heldout"]["rows"] if run.analysis else metrics.get("agreement_rows"),
        "command": reproducing_command(run),
    }


def _start(run: FinishedRun) -> dict[str, Any] | None:
    """Backbone, inputs and steps of the start that the student began with, and what that brings in; None without."""
    found = run.record["student"].get("start")
    if not found:
        return None
    made_of = found["made_of"]
    kept = {"steps": made_of["steps"], "inputs": made_of["options"]["inputs"], "trained_on": found.get("trained_on")}
    return {**made_of["backbone"], **kept}


def _gold_rows(run: FinishedRun) -> int | None:
    """Number of labelled rows that the student was trained on; None if there were none."""
    return run.record.get("gold_labels", {}).get("rows") if run.config.get("gold_labels") else None


def _score_rows(run: FinishedRun) -> list[dict[str, Any]]:
    """Rows of the results table: a metric on an evaluation set, for teacher and student."""
    metrics, rows = run.metrics, []
    for name, student in metrics["student"]["scores"].items():
        teacher = metrics["teacher"]["scores"][name]
        shown = {"set": evaluation_name(run, name), "rows": student["rows"], "majority": student["majority"]}
        rows.append(
            shown
            | {
                "metric": "accuracy",
                "teacher": teacher["accuracy"],
                "student": student["accuracy"],
                "kept": metrics["retention"][name],
                "above_chance": metrics["retention_above_chance"][name],
                "overlap": student.get("overlap", 0),
                "start_overlap": student.get("start_overlap"),
            }
        )
        if "f1" in student:
            f1 = {"metric": "F1", "teacher": teacher["f1"], "student": student["f1"]}
            rows.append(shown | f1 | {"kept": None, "above_chance": None, "overlap": 0, "start_overlap": None})
    return rows


def _recall(confusion: list[list[int]], place: int) -> float | None:
    """Recall of a class; None if it has no rows."""
    return confusion[place][place] / sum(confusion[place]) if sum(confusion[place]) else None


def _class_rows(run: FinishedRun) -> list[dict[str, Any]]:
    """Per class: the student's recall of the teacher's answers, and both models' recall of the labelled rows."""
    if run.analysis is None:
        return []
    heldout, evaluation = run.analysis["heldout"]["confusion"], run.analysis["evaluation"]
    return [
        {
            "label": label,
            "heldout_rows": sum(heldout[place]),
            "heldout": _recall(heldout, place),
            "evaluation": {
                name: {
                    "rows": sum(found["student"]["confusion"][place]),
                    "teacher": _recall(found["teacher"]["confusion"], place),
                    "student": _recall(found["student"]["confusion"], place),
                }
                for name, found in evaluation.items()
            },
        }
        for place, label in enumerate(run.analysis["labels"])
    ]


def _weakest(run: FinishedRun) -> dict[str, Any] | None:
    """The class with the lowest recall of the teacher's answers."""
    rows = [row for row in _class_rows(run) if row["heldout"] is not None]
    return min(rows, key=lambda row: row["heldout"]) if rows else None
