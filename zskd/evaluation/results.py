"""The results of a run. Evaluation files are opened here, once, after training."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import METHODS
from zskd.errors import InputError
from zskd.evaluation.analysis import latency
from zskd.evaluation.scoring import evaluate_rows
from zskd.hub.glue_rows import hub_rows
from zskd.metrics.coverage import coverage
from zskd.metrics.scores import compare, retention, score_predictions
from zskd.models.encoding import Cuts
from zskd.runs.folder import RunFolder
from zskd.runs.read import check_student, read_part
from zskd.runs.wording import class_shares, opened, query_words, spent_lines
from zskd.system.files import sha256_file
from zskd.system.formatting import in_percent
from zskd.tasks.defaults import input_length
from zskd.tasks.labelled import Labelled, read_labelled
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import Classifier
from zskd.text.sentence_hashes import rows_seen
from zskd.text.shaping import text_columns
from zskd.training.fit import Fit
from zskd.transfer.transfer_report import overlap

logger = logging.getLogger(__name__)

LATENCY_TEXTS = 32  # number of held-out inputs for measuring latency


def finished(run: RunFolder) -> dict[str, Any] | None:
    """The metrics, if the run folder already holds the finished run, else None."""
    metrics: dict[str, Any] | None = read_part(run.path, "metrics.json")
    if metrics is not None:
        check_student(run.path)
        logger.info("%s holds the finished run; nothing is left to train", run.path)
    return metrics


def _evaluation_sets(config: DistillConfig, task: Task) -> dict[str, Labelled]:
    sets = {}
    if config.glue_dir is not None:
        files = task.glue_files(config.glue_dir)
        sets = {
            name: read_labelled(task, path, skip_bad_rows=config.skip_bad_rows)
            for name, path in files.items()
            if path.is_file()
        }
    elif config.hub_eval:
        sets = {name: hub_rows(task, split, flag="--hub-eval") for name, split in task.hub_splits.items()}
    return sets


@dataclass(frozen=True)
class Scores:
    """Scores of both models on the evaluation files.

    Attributes:
        by_model: model (``teacher``, ``student``) -> evaluation set -> scores. The student's scores also have
            ``overlap``: the number of rows of which a text is also in the transfer set, and with a start
            ``start_overlap``: those with a sentence that the start has read.
        details: evaluation set -> model -> `zskd.metrics.scores.compare` against the labels.
        cut: model -> evaluation set -> number of rows that were longer than the maximum length, None for a callable.
    """

    by_model: dict[str, dict[str, dict[str, Any]]]
    details: dict[str, dict[str, Any]]
    cut: dict[str, dict[str, int | None]]


def score(
    config: DistillConfig,
    task: Task,
    teacher: Teacher,
    student: Teacher,
    gate: dict[str, Any] | None,
    transfer: Dataset,
    run: RunFolder,
    start: np.ndarray | None = None,
) -> Scores:
    """Score both models on the probe and on the evaluation files; `start` has the hashes of what a start has read.

    Raises:
        InputError: an evaluation file is not usable. The student is saved, and the message says how to score it.
    """
    scores: dict[str, dict[str, dict[str, Any]]] = {"teacher": {}, "student": {}}
    details: dict[str, dict[str, Any]] = {}
    cut: dict[str, dict[str, int | None]] = {"teacher": {}, "student": {}}
    length = input_length(config)
    probe = task.probe_path()
    if probe is not None and gate is not None:
        scores["teacher"]["probe"] = {k: v for k, v in gate.items() if k not in ("threshold", "plain", "cut")}
        cut["teacher"]["probe"] = gate.get("cut")
        cuts = Cuts(length)
        scores["student"]["probe"] = evaluate_rows(task, read_labelled(task, probe), student, length, "fp32", cuts)
        cuts.tell("scoring, student, probe", "rows")
        cut["student"]["probe"] = cuts.cut
    try:
        sets = _evaluation_sets(config, task)
    except InputError as error:
        raise InputError(
            [
                *error.problems,
                f"the student is finished and saved in {run.student}; score it with "
                f"`zskd evaluate --model {run.student} --task {config.task} --data FILE.tsv "
                f"--max-length {length}`",
            ]
        ) from error
    for name, rows in sets.items():
        details[name] = {}
        for who, model in (("teacher", teacher), ("student", student)):
            cuts = Cuts(length)
            logits = model.logits(rows.texts, max_length=length, cuts=cuts)
            cuts.tell(f"scoring, {who}, {name}", "rows")
            cut[who][name] = cuts.cut
            scores[who][name] = score_predictions(task, logits.argmax(axis=1), rows.labels)
            if rows.skipped:
                scores[who][name]["skipped_rows"] = rows.skipped
            details[name][who] = compare(logits, np.asarray(rows.labels))
        scores["student"][name]["overlap"] = shared = overlap(rows.texts, transfer)
        if shared:
            logger.info("%s: %d rows share a text with the transfer set", name, shared)
        if start is not None:
            scores["student"][name]["start_overlap"] = seen = rows_seen(rows.texts, start)
            logger.info("%s: %d rows have a sentence that the start has read", name, seen)
    return Scores(scores, details, cut)


def analysis(
    task: Task,
    teacher: Teacher,
    student: Teacher,
    report: Dataset,
    predicted: tuple[np.ndarray, np.ndarray],
    scores: Scores,
    length: int,
) -> dict[str, Any]:
    """Content of ``analysis.json``.

    Args:
        report: the half of the held-out inputs that reports agreement.
        predicted: the teacher's and the student's logits ``(rows, num_labels)`` on it, in the task's order.
        length: maximum length of an input, in tokens.

    Returns:
        ``labels``; the student against the teacher's classes: ``heldout`` (`zskd.metrics.scores.compare`), ``coverage``
        (`zskd.metrics.coverage.coverage`); ``evaluation``, both against gold labels per evaluation set; ``latency``
        per model, None for a black box.
    """
    teacher_logits, student_logits = predicted
    texts = tuple(report[:LATENCY_TEXTS][name] for name in text_columns(report))
    models = {"teacher": teacher, "student": student}
    speed = latency({who: m for who, m in models.items() if m.device_type is not None}, texts, length)
    return {
        "labels": list(task.labels),
        "heldout": compare(student_logits, teacher_logits.argmax(axis=1)),
        "coverage": coverage(teacher_logits, student_logits),
        "evaluation": scores.details,
        "latency": {who: speed.get(who) for who in models},
    }


@dataclass(frozen=True)
class Outcome:
    """Everything that ``metrics.json`` is made from.

    Attributes:
        record: content of ``record.json``.
        scores: `Scores.by_model`.
        agreed: result of `zskd.metrics.scores.agreement` on the half of the held-out text that reports.
        heldout: number of held-out inputs that `agreed` was measured on.
        queries: number of texts whose teacher answers were used, by what for: ``transfer_inputs``,
            ``held_out_inputs``, ``gold_rows`` and ``single_tokens`` (of the vocabulary, to build the student).
        repeated: how many of them repeat another of their pool, so that the teacher was not asked for them.
        live: how many the teacher answered in this run; the rest came from the cache.
        cut: number of inputs that were longer than the maximum length: ``labelling`` per part (repeated ones once),
            ``scoring`` as in `Scores.cut`.
    """

    record: dict[str, Any]
    teacher: Teacher
    student: Classifier
    scores: dict[str, dict[str, dict[str, Any]]]
    agreed: dict[str, float | None]
    fitted: Fit
    heldout: int
    queries: dict[str, int]
    repeated: int
    live: int
    cut: dict[str, Any]


def metrics(config: DistillConfig, task: Task, outcome: Outcome, run: RunFolder, *, zero_shot: bool) -> dict[str, Any]:
    """Content of ``metrics.json``. Its keys are part of zskd's public interface.

    ``compression`` is None if the teacher's size is not known.
    """
    record, scores, agreed, fitted = outcome.record, outcome.scores, outcome.agreed, outcome.fitted
    teacher, student = outcome.teacher, outcome.student
    raw, above = retention(scores)
    weights = run.student / "model.safetensors"
    methods = fitted.trainer.seam.methods
    by_use = {spec.use: 0 for spec in METHODS.values() if spec.use is not None}
    for method in methods:
        use = METHODS[method.name].use if method.name in METHODS else None
        if use is not None or method.queries:
            by_use[use or method.name] = method.queries
    texts = sum(count for use, count in outcome.queries.items() if use != "single_tokens") - outcome.repeated
    asked, earlier = sum(method.queries for method in methods), run.earlier_calls()
    live = outcome.live + asked - fitted.asked_before
    return {
        "task": task.name,
        "seed": config.seed,
        "pool_seed": config.shaping_seed,
        "teacher": {
            "name": teacher.name,
            "revision": teacher.revision,
            "parameters": teacher.parameters,
            "scores": scores["teacher"],
        },
        "student": {
            "parameters": student.parameters,
            "sha256": sha256_file(weights) if weights.is_file() else None,  # else in shards
            "scores": scores["student"],
        },
        "compression": teacher.parameters / student.parameters if teacher.parameters else None,
        "retention": raw,
        "retention_above_chance": above,
        "agreement": agreed["raw"],
        "agreement_majority": agreed["majority"],
        "agreement_above_chance": agreed["above_chance"],
        "agreement_rows": outcome.heldout,
        "teacher_queries": texts + outcome.queries["single_tokens"] + asked,
        "teacher_queries_repeated": outcome.repeated,
        "teacher_queries_live": live,
        "teacher_queries_live_in_all_calls": live
        + fitted.asked_before
        + sum(c["teacher_queries_live"] for c in earlier),
        "teacher_queries_by_use": {"texts": texts, "single_tokens": outcome.queries["single_tokens"], **by_use},
        "teacher_queries_for": {**outcome.queries, **by_use},
        "max_length": input_length(config),
        "cut": outcome.cut,
        "transfer_set": record["transfer_set"],
        "steps": fitted.steps,
        "best_step": fitted.best_step,
        "resumed_from": fitted.resumed_from,
        "collapse": fitted.collapse,
        "calls": 1 + len(earlier),
        "seconds": run.all_seconds(fitted.seconds_before),
        "zero_shot": {
            "enforced": zero_shot,
            "read_before_training": [
                *(["probe (teacher gate)"] if record["gate"] else []),
                *(["gold labels (--gold-labels)"] if config.gold_labels is not None else []),
            ],
            "read_after_training": list(scores["student"]),
        },
        "versions": record["versions"],
    }


def table(metrics: dict[str, Any]) -> str:
    """The table that `zskd distill` prints at the end of a run."""
    lines = [f"{'':24}{'teacher':>12}{'student':>12}{'kept':>9}{'above chance':>14}"]
    size, ratio = metrics["teacher"]["parameters"], metrics["compression"]
    lines.append(
        f"{'parameters':24}{format(size, ',') if size else 'unknown':>12}{metrics['student']['parameters']:>12,}"
        f"{'1/' + format(ratio, '.1f') if ratio else '-':>9}"
    )
    for name, student in metrics["student"]["scores"].items():
        teacher, above = metrics["teacher"]["scores"][name], metrics["retention_above_chance"][name]
        shown = "-" if above is None else f"{in_percent(above)} %"
        raw = metrics["retention"][name]
        label = f"{name} ({student['rows']} rows)"
        lines.append(
            f"{label:24}{teacher['accuracy']:>12.4f}{student['accuracy']:>12.4f}"
            f"{'-' if raw is None else in_percent(raw) + ' %':>9}{shown:>14}"
        )
    above = metrics["agreement_above_chance"]
    shown = "-" if above is None else f"{in_percent(above)} %"
    lines.append(f"{'agreement (held out)':24}{'':12}{metrics['agreement']:>12.4f}{'':9}{shown:>14}")
    return "\n".join(lines)


def notes(metrics: dict[str, Any], config: dict[str, Any]) -> str:
    """What `zskd distill` prints below the table: what its columns mean, and what data the run has used."""
    chosen, opening = metrics["transfer_set"], opened(metrics, config)
    rows = metrics.get("agreement_rows")  # an older run has none
    lines = [
        "scores are accuracies from 0 to 1; kept: student / teacher; above chance: (student - majority class) /",
        "(teacher - majority class), and of the agreement (agreement - majority class) / (1 - majority class)",
        f"held out: {f'{rows:,} inputs' if rows else 'inputs'}, none of which chose the checkpoint",
        f"transfer set: {chosen['texts']:,} inputs in {chosen['rows']:,} rows; {class_shares(chosen['classes'])}",
        f"teacher queries: {query_words(metrics)}",
        *spent_lines(metrics),
        f"labelled data opened before training: {'; '.join(map(str, opening.before)) or 'none'}",
        f"labelled data opened after training: {'; '.join(map(str, opening.after)) or 'none'}",
    ]
    return "\n".join(lines)
