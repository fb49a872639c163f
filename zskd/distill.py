"""The walk: corpus, shaping, labelling, selection, training, scoring.

No function called before `score` receives a path to labelled data; the teacher gate reads the packaged probe.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
from transformers import set_seed

from zskd import results
from zskd.checks import check
from zskd.config import DistillConfig, cache_root
from zskd.errors import InputError
from zskd.files import replacing, write_text
from zskd.gate import check_teacher
from zskd.labelling import label_texts
from zskd.models.classifier import load_classifier, pick_precision
from zskd.models.loading import quiet_transformers
from zskd.models.student import build_student, load_student, student_classifier
from zskd.runfolder import RunFolder, versions
from zskd.scoring import agreement
from zskd.tasks import TASKS
from zskd.text.corpus import build_corpus
from zskd.text.selection import select, teacher_logits
from zskd.text.shaping import build_pools
from zskd.text.sources import find_sources
from zskd.training.data import encode
from zskd.training.fit import fit

logger = logging.getLogger(__name__)


def distill(config: DistillConfig, *, zero_shot: bool = True) -> dict[str, Any]:
    """Distil a teacher into a student and return the content of ``metrics.json``.

    Args:
        zero_shot: recorded as ``zero_shot.enforced``. A recipe that hands in the task's own text as corpus, such
            as the in-domain ceiling, passes False.

    Raises:
        InputError: the input is wrong; nothing was written to the run folder, or the student was kept.
        RunError: a download failed.
    """
    if problems := check(config):
        raise InputError(problems)
    task, cache, run = TASKS[config.task], cache_root(config.cache_dir), RunFolder(config)
    if finished := results.finished(run):
        return finished

    with run.phase("corpus"):
        corpus = build_corpus(find_sources(config.corpus), config.corpus_fraction, cache)
        logger.info("corpus: %d sentences (%d duplicates dropped)", len(corpus.sentences), corpus.duplicates)
    with run.phase("shaping"):
        pools = build_pools(
            corpus,
            size=config.pool_size,
            heldout=config.heldout,
            perturb=config.perturb,
            seed=config.seed,
            cache=cache,
        )
        logger.info("shaping: %d texts for the transfer set, perturbation %s", len(pools.transfer), config.perturb)
    with run.phase("teacher"):
        teacher = load_classifier(
            task, config.teacher, cache, revision=config.teacher_revision, label_map=config.label_map
        )
        teacher.model.to(results.device())
        gate = check_teacher(task, teacher, config.max_length)
        if gate:
            logger.info("teacher: %s parameters, %.3f on the probe", f"{teacher.parameters:,}", gate["accuracy"])
    with run.phase("labelling"):
        precision = pick_precision(config.precision, teacher.model.device)
        labelled = {
            name: label_texts(
                getattr(pools, name),
                teacher,
                cache,
                max_length=config.max_length,
                precision=precision,
                description=f"teacher labels {name}",
            )
            for name in ("transfer", "select", "report")
        }
        queries, live = (sum(getattr(part, name) for part in labelled.values()) for name in ("queries", "live"))
        logger.info("labelling: %d texts, %d asked now (%s), %d cached", queries, live, precision, queries - live)
    with run.phase("selection"):
        selection = select(
            teacher_logits(labelled["transfer"].dataset, teacher.order),
            task.labels,
            min_confidence=config.min_confidence,
            max_class_share=config.max_class_share,
            seed=config.seed,
        )
        logger.info("selection: %d texts stay; %s", len(selection.rows), results.class_line(selection))
    with run.phase("student"):
        set_seed(config.seed)
        student_revision, asked = None, 0
        if config.student == "build":
            student, tokenizer, asked = build_student(task, teacher, config.compression, precision, cache)
        else:
            student, tokenizer, student_revision = load_student(task, config.student, config.student_revision)
    record = {
        "versions": versions(),
        "seed": config.seed,
        "corpus": {
            "fingerprint": corpus.fingerprint,
            "sources": corpus.sources,
            "sentences": len(corpus.sentences),
        },
        "pools": {"fingerprint": pools.fingerprint},
        "teacher": {"name": config.teacher, "revision": teacher.revision, "fingerprint": teacher.fingerprint},
        "student": {"name": config.student, "revision": student_revision},
        "transfer_set": {"texts": len(selection.rows), "classes": selection.report},
        "precision": precision,
        "gate": gate,
    }
    run.start(record)
    with run.phase("training"):
        kept = labelled["transfer"].dataset
        if len(selection.rows) < len(kept):
            kept = kept.select(selection.rows)
        encoded = {
            name: encode(dataset, tokenizer, teacher.order, config.max_length, run.path / "_cache" / f"{name}.arrow")
            for name, dataset in (
                ("transfer", kept),
                ("select", labelled["select"].dataset),
                ("report", labelled["report"].dataset),
            )
        }
        fitted = fit(config, student, tokenizer, encoded["transfer"], encoded["select"], run.checkpoints)
        with replacing(run.student) as temporary, quiet_transformers():
            student.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        write_text(run.path / "history.json", json.dumps(fitted.history) + "\n")
        logger.info("training: %d steps, student of step %d kept in %s", fitted.steps, fitted.best_step, run.student)
    with run.phase("scoring"):
        prediction = fitted.trainer.predict(encoded["report"])
        agreed = agreement(prediction.label_ids, np.asarray(prediction.predictions))
        classifier = student_classifier(task, student, tokenizer, str(run.student))
        scores = results.score(config, task, teacher, classifier, gate, run)
    metrics = results.metrics(
        config,
        record,
        teacher,
        classifier,
        scores,
        agreed,
        fitted,
        queries,
        live + asked,
        run,
        zero_shot=zero_shot,
    )
    run.finish(metrics)
    return metrics
