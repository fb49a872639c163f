"""The student's part of a run: its start, its training, its scores."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from zskd.config.methods.table import method_queries
from zskd.evaluation import results
from zskd.methods.context import Run
from zskd.methods.method import Method
from zskd.metrics.disagreements import disagreements
from zskd.metrics.scores import agreement
from zskd.models.lengths import save_tokenizer
from zskd.models.quiet import quiet_transformers
from zskd.models.sentence_encoder import embedded_encoder
from zskd.runs.folder import RunFolder, versions
from zskd.stages.inputs import Setting
from zskd.stages.teachers import Labelled
from zskd.student.initial import InitialStudent, initial_student
from zskd.system.files import replacing, sha256_file, write_text
from zskd.system.machine import machine, processor
from zskd.system.os_faults import writing
from zskd.system.processes import main_first, on_main
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import classifier_from
from zskd.text.corpus import Corpus
from zskd.text.shaping import Pools, text_columns
from zskd.training.fit import Fit, fit
from zskd.training.objective import NEEDS_COSINES
from zskd.training.targets import class_cosines
from zskd.transfer.gold import with_gold
from zskd.transfer.rows import encode_parts
from zskd.transfer.transfer_set import TransferSet

logger = logging.getLogger(__name__)


def start_student(setting: Setting, teacher: Teacher, precision: str) -> InitialStudent:
    """Load or build the untrained student."""
    config = setting.config
    return main_first(
        lambda: initial_student(
            setting.task,
            config.student,
            config.student_revision,
            teacher,
            compression=config.compression,
            precision=precision,
            seed=config.seed,
            cache=setting.cache,
            max_length=setting.length,
            start=config.start_from,
            ask_tokens=setting.plan is None or setting.plan.single_tokens > 0,
        )
    )


def prepare(
    setting: Setting,
    methods: Sequence[Method],
    teacher: Teacher,
    initial: InitialStudent,
    corpus: Corpus | None,
    precision: str,
) -> None:
    """Call `Method.prepare` of every method. Its time is recorded under `Method.phase`, if the method has one."""
    run = Run(
        seed=setting.config.seed,
        student=initial.model,
        tokenizer=initial.tokenizer,
        teacher=teacher,
        task=setting.task,
        corpus=corpus,
        cache=setting.cache,
        precision=precision,
        max_length=setting.length,
        temperature=setting.config.temperature,
    )
    for method in methods:
        if method.phase is None:
            method.prepare(run)
        else:
            with setting.folder.phase(method.phase):
                method.prepare(run)
        method.prepared = True


def record(
    setting: Setting,
    corpus: Corpus | None,
    pools: Pools,
    teacher: Teacher,
    gate: dict[str, Any] | None,
    labelled: Labelled,
    chosen: TransferSet,
    initial: InitialStudent,
) -> dict[str, Any]:
    """Content of ``record.json``: versions, the machine, fingerprints and revisions."""
    config = setting.config
    found: dict[str, Any] = {
        "versions": versions(),
        "machine": machine(),
        "processor": processor(),
        "seed": config.seed,
        "pool_seed": config.shaping_seed,
        "corpus": {
            "fingerprint": corpus.fingerprint if corpus else pools.fingerprint,
            "sources": corpus.sources if corpus else {},
            "sentences": corpus.count if corpus else 0,
            "characters": corpus.characters if corpus else 0,
            "dropped": corpus.dropped if corpus else {},
            "language": config.language,
        },
        "pools": {"fingerprint": pools.fingerprint, "size": len(pools.transfer) + method_queries(config)},
        "teacher": {"name": teacher.name, "revision": teacher.revision, "fingerprint": teacher.fingerprint},
        "student": {
            "name": config.student,
            "revision": initial.revision,
            "start": initial.start and initial.start.said,
        },
        "transfer_set": {"texts": chosen.distinct, "rows": len(chosen.rows), "classes": chosen.report()},
        "precision": labelled.precision,
        "gate": gate,
        "processes": setting.processes,
    }
    if config.pairs == "wide":
        encoder = embedded_encoder(setting.cache)
        found["pools"]["encoder"] = {
            "name": encoder.name,
            "fingerprint": encoder.fingerprint,
            "precision": encoder.precision,
        }
    if config.gold_labels is not None:
        rows = len(labelled.parts["gold"].dataset)
        found["gold_labels"] = {"rows": rows, "sha256": sha256_file(Path(config.gold_labels))}
        if labelled.skipped:
            found["gold_labels"]["skipped_rows"] = labelled.skipped
    return found


@dataclass(frozen=True)
class Trained:
    """A trained student.

    Attributes:
        rows: the transfer set, including labelled rows that the user added.
        report: encoded held-out inputs that report agreement.
    """

    fitted: Fit
    rows: Dataset
    report: Dataset


def train(
    setting: Setting,
    methods: Sequence[Method],
    teacher: Teacher,
    initial: InitialStudent,
    labelled: Labelled,
    chosen: TransferSet,
) -> Trained:
    """Train the student and save it."""
    config, folder, asked = setting.config, setting.folder, method_queries(setting.config)
    rows = chosen.dataset()
    if "gold" in labelled.parts:
        rows = with_gold(rows, labelled.parts["gold"].dataset)
    parts = {"transfer": rows, **{name: labelled.parts[name].dataset for name in ("select", "report")}}
    with writing(folder.path / "_cache"):
        encoded = encode_parts(parts, initial.tokenizer, setting.length, folder.path / "_cache")
    gold = len(rows) - len(chosen.rows)
    with writing(folder.checkpoints):
        fitted = fit(
            config,
            initial.model,
            initial.tokenizer,
            encoded["transfer"],
            encoded["select"],
            folder.checkpoints,
            # The number of updates depends neither on the selection nor on methods' queries, so that runs compare.
            rows=round((gold + len(chosen.logits)) * setting.pool_size / (setting.pool_size - asked)),
            methods=methods,
            teacher=teacher,
            cosines=class_cosines(teacher.output_weights()) if config.objective in NEEDS_COSINES else None,
        )
    on_main(lambda: _keep(folder, initial, fitted))
    logger.info(
        "training: %d steps; chosen: the student of step %d, saved in %s",
        fitted.steps,
        fitted.best_step,
        folder.student,
    )
    return Trained(fitted, rows, encoded["report"])


def _keep(folder: RunFolder, initial: InitialStudent, fitted: Fit) -> None:
    """Write the student and Trainer's log."""
    with replacing(folder.student) as temporary, quiet_transformers():
        initial.model.save_pretrained(temporary)
        save_tokenizer(initial.tokenizer, initial.model.config, temporary)
    write_text(folder.path / "history.json", json.dumps(fitted.history) + "\n")


def score(
    setting: Setting,
    teacher: Teacher,
    initial: InitialStudent,
    labelled: Labelled,
    pools: Pools,
    trained: Trained,
    recorded: dict[str, Any],
) -> results.Outcome:
    """Open the evaluation files for the first time, score both models, and write what the report shows of it."""
    config, task, folder = setting.config, setting.task, setting.folder
    prediction = trained.fitted.trainer.predict(trained.report)
    predicted = np.asarray(prediction.label_ids), np.asarray(prediction.predictions)
    student = classifier_from(task, initial.model, initial.tokenizer, name=str(folder.student), frozen=False)

    def write() -> results.Scores:
        hashes = initial.start.hashes if initial.start else None
        scores = results.score(config, task, teacher, student, recorded["gate"], trained.rows, folder, hashes)
        details = results.analysis(task, teacher, student, pools.report, predicted, scores, setting.length)
        texts = [pools.report[name] for name in text_columns(pools.report)]
        files = {"analysis.json": details, "disagreements.json": disagreements(texts, *predicted)}
        for method in trained.fitted.trainer.seam.methods:
            files |= method.files()
        for name, content in files.items():
            write_text(folder.path / name, json.dumps(content, indent=1) + "\n")
        return scores

    found = on_main(write)
    return results.Outcome(
        record=recorded,
        teacher=teacher,
        student=student,
        scores=found.by_model,
        agreed=agreement(*predicted),
        fitted=trained.fitted,
        heldout=len(predicted[0]),
        queries={
            "transfer_inputs": len(labelled.parts["transfer"].dataset),
            "held_out_inputs": len(labelled.parts["select"].dataset) + len(labelled.parts["report"].dataset),
            "gold_rows": len(labelled.parts["gold"].dataset) if "gold" in labelled.parts else 0,
            "single_tokens": initial.tokens,
        },
        repeated=labelled.repeated,
        live=labelled.live + initial.asked,
        cut={"labelling": labelled.cut, "scoring": found.cut},
    )


def metrics(setting: Setting, outcome: results.Outcome, *, zero_shot: bool) -> dict[str, Any]:
    """Content of ``metrics.json``. Called last, because it includes the time of every phase."""
    zero_shot = zero_shot and setting.config.gold_labels is None
    return results.metrics(setting.config, setting.task, outcome, setting.folder, zero_shot=zero_shot)


def write_report(folder: RunFolder) -> None:
    """Write the run's report. The run is finished by then, so a failure here is only a warning."""
    try:
        from zskd.report import page

        page.write_report([folder.path])
    except Exception as error:
        logger.warning("the report was not written (%s); try again with `zskd report %s`", error, folder.path)


def complete(folder: RunFolder) -> None:
    """Do what a run that was killed after ``metrics.json`` still lacks: its report, and a tidy folder."""
    folder.tidy()
    if not (folder.path / "report.html").is_file():
        write_report(folder)
