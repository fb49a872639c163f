"""The last room: evaluation files are opened here, once, and the results are put together."""

from __future__ import annotations

import json
import logging
from typing import Any

import torch

from zskd.config import DistillConfig
from zskd.errors import InputError
from zskd.models.classifier import Classifier
from zskd.runfolder import RunFolder
from zskd.scoring import above_chance, evaluate_rows
from zskd.tasks import HUB_DATA, Labelled, Task, read_labelled
from zskd.text.selection import Selection
from zskd.training.fit import Fit

logger = logging.getLogger(__name__)


def device() -> torch.device:
    """Where models run: the first CUDA device, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def finished(run: RunFolder) -> dict[str, Any] | None:
    """Metrics of a run that a resumed command finds complete, else None."""
    path = run.path / "metrics.json"
    if not path.is_file():
        return None
    logger.info("%s holds the finished run; nothing to resume", run.path)
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return metrics


def class_line(selection: Selection) -> str:
    """Teacher's classes in the transfer set, in one line."""
    return ", ".join(f"{name} {100 * entry['share']:.0f} %" for name, entry in selection.report.items())


def _hub_rows(task: Task, split: str) -> Labelled:
    from datasets import load_dataset

    from zskd.hub import resolve_revision

    revision = resolve_revision(HUB_DATA, None, flag="--hub-eval", repo_type="dataset")
    rows = load_dataset(HUB_DATA, task.hub_config, split=split, revision=revision)
    return Labelled(tuple(rows[column][:] for column in task.hub_columns), rows["label"][:])


def _evaluation_sets(config: DistillConfig, task: Task) -> dict[str, Labelled]:
    sets = {}
    if config.glue_dir is not None:
        files = task.glue_files(config.glue_dir)
        sets = {name: read_labelled(task, path) for name, path in files.items() if path.is_file()}
    elif config.hub_eval:
        sets = {name: _hub_rows(task, split) for name, split in task.hub_splits.items()}
    return sets


def score(
    config: DistillConfig,
    task: Task,
    teacher: Classifier,
    student: Classifier,
    gate: dict[str, Any] | None,
    run: RunFolder,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Scores per model (``teacher``, ``student``) and evaluation set.

    Raises:
        InputError: an evaluation file is not usable; the student is kept and the message says how to score it.
    """
    scores: dict[str, dict[str, dict[str, Any]]] = {"teacher": {}, "student": {}}
    probe = task.probe_path()
    if probe is not None and gate is not None:
        scores["teacher"]["probe"] = {name: value for name, value in gate.items() if name != "threshold"}
        scores["student"]["probe"] = evaluate_rows(task, read_labelled(task, probe), student, config.max_length, "fp32")
    try:
        sets = _evaluation_sets(config, task)
    except InputError as error:
        raise InputError(
            [
                *error.problems,
                f"the student is finished and kept in {run.student}; score it with "
                f"`zskd evaluate --model {run.student} --task {task.name} --data FILE.tsv`",
            ]
        ) from error
    for name, rows in sets.items():
        for who, model in (("teacher", teacher), ("student", student)):
            scores[who][name] = evaluate_rows(task, rows, model, config.max_length, "fp32")
    return scores


def retention(
    scores: dict[str, dict[str, dict[str, Any]]],
) -> tuple[dict[str, float], dict[str, float | None]]:
    """Student's accuracy as a share of the teacher's, raw and above the majority class, per evaluation set."""
    raw, above = {}, {}
    for name, student in scores["student"].items():
        teacher = scores["teacher"][name]
        raw[name] = student["accuracy"] / teacher["accuracy"]
        above[name] = above_chance(student["accuracy"], student["majority"], teacher["accuracy"])
    return raw, above


def metrics(
    config: DistillConfig,
    record: dict[str, Any],
    teacher: Classifier,
    student: Classifier,
    scores: dict[str, dict[str, dict[str, Any]]],
    agreed: dict[str, float | None],
    fitted: Fit,
    queries: int,
    live: int,
    run: RunFolder,
    *,
    zero_shot: bool,
) -> dict[str, Any]:
    """Content of ``metrics.json``; the keys are the run's output contract."""
    raw, above = retention(scores)
    # Building the student shows the teacher every token of the vocabulary once.
    vocabulary = len(teacher.tokenizer) if config.student == "build" else 0
    return {
        "task": config.task,
        "seed": config.seed,
        "teacher": {
            "name": config.teacher,
            "revision": teacher.revision,
            "parameters": teacher.parameters,
            "scores": scores["teacher"],
        },
        "student": {"parameters": student.parameters, "scores": scores["student"]},
        "compression": teacher.parameters / student.parameters,
        "retention": raw,
        "retention_above_chance": above,
        "agreement": agreed["raw"],
        "agreement_majority": agreed["majority"],
        "agreement_above_chance": agreed["above_chance"],
        "teacher_queries": queries + vocabulary,
        "teacher_queries_live": live,
        "teacher_queries_by_use": {"texts": queries, "single_tokens": vocabulary},
        "transfer_set": record["transfer_set"],
        "steps": fitted.steps,
        "best_step": fitted.best_step,
        "resumed_from": fitted.resumed_from,
        "seconds": {**run.seconds, "total": round(sum(run.seconds.values()), 2)},
        "zero_shot": {
            "enforced": zero_shot,
            "read_before_training": ["probe (teacher gate)"] if record["gate"] else [],
            "read_after_training": [name for name in scores["student"] if name != "probe"],
        },
        "versions": record["versions"],
    }


def table(metrics: dict[str, Any]) -> str:
    """The closing table of a run."""
    lines = [f"{'':24}{'teacher':>12}{'student':>12}{'kept':>9}{'above chance':>14}"]
    lines.append(
        f"{'parameters':24}{metrics['teacher']['parameters']:>12,}{metrics['student']['parameters']:>12,}"
        f"{'1/' + format(metrics['compression'], '.1f'):>9}"
    )
    for name, student in metrics["student"]["scores"].items():
        teacher, above = metrics["teacher"]["scores"][name], metrics["retention_above_chance"][name]
        shown = "-" if above is None else f"{100 * above:.1f} %"
        label = f"{name} ({student['rows']} rows)"
        lines.append(
            f"{label:24}{teacher['accuracy']:>12.4f}{student['accuracy']:>12.4f}"
            f"{100 * metrics['retention'][name]:>7.1f} %{shown:>14}"
        )
    above = metrics["agreement_above_chance"]
    shown = "-" if above is None else f"{100 * above:.1f} %"
    lines.append(f"{'agreement (held out)':24}{'':12}{metrics['agreement']:>12.4f}{'':9}{shown:>14}")
    return "\n".join(lines)
