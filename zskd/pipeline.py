"""The walk: corpus, shaping, labelling, selection, training, scoring, report.

No function called before `score` receives a path to labelled data, unless the user adds gold labels of their own, which
ends the claim of zero shot; the teacher gate reads the task's probe.

Of several processes each labels its part and trains; the main one reads, writes and scores for all.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset

from zskd.checks import check, check_batch_size
from zskd.config.resolve import cache_root
from zskd.tasks.defaults import input_length, with_task_defaults
from zskd.config.distillation import DistillConfig
from zskd.errors import InputError
from zskd.evaluation import results
from zskd.evaluation.gate import check_teacher
from zskd.methods.adversarial.setup import adversarial_queries, prepare_adversary
from zskd.metrics.scores import agreement
from zskd.models.quiet import quiet_transformers
from zskd.runs.folder import RunFolder, versions
from zskd.student.initial import InitialStudent, initial_student
from zskd.system.files import replacing, sha256_file, write_text
from zskd.system.processes import check_shared, join, main_first, on_main
from zskd.tasks.task import Task, find_task
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import classifier_from
from zskd.teacher.labelling import LabelledTexts, label_texts
from zskd.teacher.load import AnyTeacher, load_teacher
from zskd.text.corpus import Corpus, build_corpus
from zskd.text.shaping import INPUTS_PER_SENTENCE, Pools, build_pools, limited_size
from zskd.text.sources import find_sources
from zskd.training.fit import Fit, fit
from zskd.training.objective import NEEDS_COSINES, class_cosines, coinciding
from zskd.transfer.gold import label_gold, with_gold
from zskd.transfer.rows import encode_parts
from zskd.transfer.selection import Selection, select, teacher_logits
from zskd.transfer.transfer_report import report_table, transfer_report

logger = logging.getLogger(__name__)


def distill(
    config: DistillConfig, *, teacher: AnyTeacher | None = None, pools: Pools | None = None, zero_shot: bool = True
) -> dict[str, Any]:
    """Distil a teacher into a student and return the content of ``metrics.json``.

    Args:
        teacher: a callable teacher (see `zskd.teacher.blackbox`), in place of ``config.teacher``.
        pools: inputs made elsewhere, in place of those shaped from ``config.corpus``.
        zero_shot: recorded as ``zero_shot.enforced``. A recipe that hands in the task's own inputs, such as the
            in-domain ceiling, passes False.

    Raises:
        InputError: the input is wrong; nothing was written to the run folder, or the student was kept.
        RunError: a download failed.
    """
    config = with_task_defaults(config)
    if problems := check(config, black_box=teacher is not None):
        raise InputError(problems)
    task, cache, run = find_task(config.task), cache_root(config.cache_dir), RunFolder(config)
    state = _meet(config, cache, run)
    if finished := on_main(lambda: results.finished(run)):
        return finished
    length = input_length(config)
    assert config.objective is not None  # the task's default
    if same := coinciding(config.objective, task.num_labels, config.top_k, gold=config.gold_labels is not None):
        logger.info("objective: %s; going on with %s", same, config.objective)
    adversarial_queries(config)  # a pool too small for the generator is found before the corpus is read

    with run.phase("corpus"):
        corpus = main_first(lambda: build_corpus(find_sources(config.corpus), config.corpus_fraction, cache))
        logger.info("corpus: %d sentences (%d duplicates dropped)", corpus.count, corpus.duplicates)
    if pools is None:
        config = _limit_pool(config, corpus)
    assert config.pool_size is not None  # filled in above
    pool_size, written = config.pool_size, adversarial_queries(config)
    with run.phase("shaping"):
        pools = pools or main_first(
            lambda: build_pools(
                corpus,
                inputs=task.inputs,
                size=pool_size - written,
                heldout=config.heldout,
                perturb="random" if config.perturb == "adversarial" else config.perturb,
                seed=config.seed,
                cache=cache,
            )
        )
        logger.info("shaping: %d inputs for the transfer set, perturbation %s", len(pools.transfer), config.perturb)
    with run.phase("teacher"):
        loaded = main_first(
            lambda: load_teacher(task, teacher or config.teacher, cache, config.teacher_revision, config.label_map)
        )
        gate = on_main(lambda: check_teacher(task, loaded, length))
    with run.phase("labelling"):
        precision = loaded.precision(config.precision)
        labelled = _label(config, task, loaded, pools, cache, precision)
        queries, live = _queries(labelled)
        logger.info("labelling: %d inputs, %d asked now (%s), %d cached", queries, live, precision, queries - live)
    with run.phase("selection"):
        logits = teacher_logits(labelled["transfer"].dataset)
        report = on_main(lambda: transfer_report(labelled["transfer"].dataset, logits, task.labels))
        logger.info("%s", report_table(report, task.labels))
        selection = select(
            logits,
            task.labels,
            min_confidence=config.min_confidence,
            max_class_share=config.max_class_share,
            seed=config.seed,
        )
        distinct = len(np.unique(selection.rows))
        logger.info(
            "selection: %d inputs stay, in %d rows; %s", distinct, len(selection.rows), results.class_line(selection)
        )
    with run.phase("student"):
        start = main_first(
            lambda: initial_student(
                task,
                config.student,
                config.student_revision,
                loaded,
                compression=config.compression,
                precision=precision,
                seed=config.seed,
                cache=cache,
            )
        )
    make_adversary = None
    if config.perturb == "adversarial":
        with run.phase("generator"):
            make_adversary = prepare_adversary(config, task, loaded, start.tokenizer, corpus, precision, cache)
    record = {
        "versions": versions(),
        "seed": config.seed,
        "corpus": {
            "fingerprint": corpus.fingerprint,
            "sources": corpus.sources,
            "sentences": corpus.count,
        },
        "pools": {"fingerprint": pools.fingerprint, "size": len(pools.transfer) + written},
        "teacher": {"name": loaded.name, "revision": loaded.revision, "fingerprint": loaded.fingerprint},
        "student": {"name": config.student, "revision": start.revision},
        "transfer_set": {"texts": distinct, "rows": len(selection.rows), "classes": selection.report},
        "precision": precision,
        "gate": gate,
        "processes": state.num_processes,
    }
    if config.gold_labels is not None:
        record["gold_labels"] = {"rows": labelled["gold"].queries, "sha256": sha256_file(Path(config.gold_labels))}
    on_main(lambda: run.start(record, report))
    with run.phase("training"):
        kept = _kept(labelled, selection)
        rows = {"transfer": kept, "select": labelled["select"].dataset, "report": labelled["report"].dataset}
        encoded = encode_parts(rows, start.tokenizer, length, run.path / "_cache")
        fitted = fit(
            config,
            start.model,
            start.tokenizer,
            encoded["transfer"],
            encoded["select"],
            run.checkpoints,
            # As many updates whatever selection made of the transfer set, and whatever the generator has judged.
            rows=round((len(kept) - len(selection.rows) + len(logits)) * pool_size / (pool_size - written)),
            make_adversary=make_adversary,
            cosines=_similarities(config, loaded),
        )
        on_main(lambda: _keep(run, start, fitted))
        logger.info("training: %d steps, student of step %d kept in %s", fitted.steps, fitted.best_step, run.student)
    with run.phase("scoring"):
        prediction = fitted.trainer.predict(encoded["report"])
        predicted = np.asarray(prediction.label_ids), np.asarray(prediction.predictions)
        classifier = classifier_from(task, start.model, start.tokenizer, name=str(run.student), frozen=False)

        def score() -> results.Scores:
            scores = results.score(config, task, loaded, classifier, gate, kept, run)
            details = results.analysis(task, loaded, classifier, pools.report, predicted, scores, length)
            write_text(run.path / "analysis.json", json.dumps(details, indent=1) + "\n")
            if fitted.trainer.phase2 is not None:
                write_text(run.path / "adversarial.json", json.dumps(fitted.trainer.phase2.examples, indent=1) + "\n")
            return scores

        scores = on_main(score).by_model
    asked = live + start.asked
    outcome = results.Outcome(
        record, loaded, classifier, scores, agreement(*predicted), fitted, queries, start.tokens, asked
    )
    metrics = results.metrics(config, task, outcome, run, zero_shot=zero_shot and config.gold_labels is None)
    on_main(lambda: run.finish(metrics))
    on_main(lambda: _report(run))
    return metrics


def _meet(config: DistillConfig, cache: Path, run: RunFolder) -> PartialState:
    """Find the other processes and see that all work in the same folders on equal parts of a batch."""
    state = join(config.num_processes)
    if problems := check_batch_size(config, state.num_processes):
        raise InputError(problems)
    check_shared(cache, "--cache-dir")
    check_shared(run.path.absolute().parent, "--output-dir")
    return state


def _limit_pool(config: DistillConfig, corpus: Corpus) -> DistillConfig:
    """The configuration with a pool that the corpus can fill; what was asked for stays in the run's ``config.yaml``."""
    assert config.pool_size is not None
    size = limited_size(config.pool_size, corpus.count)
    if size < config.pool_size and PartialState().is_main_process:
        logger.warning(
            "shaping: %d inputs instead of --pool-size %d: at most %d for each of the %d sentences; add text for more",
            size,
            config.pool_size,
            INPUTS_PER_SENTENCE,
            corpus.count,
        )
    return replace(config, pool_size=size)


def _label(
    config: DistillConfig, task: Task, teacher: Teacher, pools: Pools, cache: Path, precision: str
) -> dict[str, LabelledTexts]:
    """The pools, and the user's own labelled rows as ``gold``, with the teacher's logits."""
    labeller = teacher.for_inference(precision, config.compile)  # freed before training starts
    length = input_length(config)
    labelled = {
        name: label_texts(
            getattr(pools, name),
            labeller,
            cache,
            max_length=length,
            precision=precision,
            description=f"teacher labels {name}",
        )
        for name in ("transfer", "select", "report")
    }
    if config.gold_labels is not None:
        labelled["gold"] = label_gold(
            task, config.gold_labels, labeller, cache, pools.transfer, max_length=length, precision=precision
        )
    return labelled


def _similarities(config: DistillConfig, teacher: Teacher) -> torch.Tensor | None:
    """Cosines of the classes in the teacher's output layer, ``(num_labels, num_labels)``, where the objective asks."""
    if config.objective not in NEEDS_COSINES:
        return None
    return class_cosines(teacher.output_weights())


def _kept(labelled: dict[str, LabelledTexts], selection: Selection) -> Dataset:
    """The transfer set: what was selected, and the user's own labelled rows."""
    kept = labelled["transfer"].dataset
    if not np.array_equal(selection.rows, np.arange(len(kept))):
        kept = kept.select(selection.rows)
    return with_gold(kept, labelled["gold"].dataset) if "gold" in labelled else kept


def _keep(run: RunFolder, start: InitialStudent, fitted: Fit) -> None:
    """Write the student and Trainer's log."""
    with replacing(run.student) as temporary, quiet_transformers():
        start.model.save_pretrained(temporary)
        start.tokenizer.save_pretrained(temporary)
    write_text(run.path / "history.json", json.dumps(fitted.history) + "\n")


def _report(run: RunFolder) -> None:
    """Write the run's report; the run is finished, so whatever goes wrong here is said and costs nothing else."""
    try:
        from zskd.report.page import write_report

        write_report([run.path])
    except Exception as error:
        logger.warning("the report was not written (%s); try again with `zskd report %s`", error, run.path)


def _queries(labelled: dict[str, LabelledTexts]) -> tuple[int, int]:
    """Inputs whose logits are used, and those of them that the teacher was asked for now."""
    return sum(part.queries for part in labelled.values()), sum(part.live for part in labelled.values())
