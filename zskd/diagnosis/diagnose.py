"""`zskd diagnose`: label a transfer set, measure the signals in the answers, and advise."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from zskd.config.distillation import DistillConfig
from zskd.config.resolve import cache_root
from zskd.config.verbs import DiagnoseConfig
from zskd.diagnosis.findings import advise, find
from zskd.diagnosis.signals import measure
from zskd.diagnosis.stored import FILE
from zskd.errors import InputError
from zskd.models.encoding import Cuts, tell_cut
from zskd.models.sentence_encoder import embedded_encoder
from zskd.runs.read import check_student, run_config
from zskd.system.files import write_text
from zskd.tasks.defaults import input_length
from zskd.tasks.labelled import Labelled, read_labelled
from zskd.tasks.task import Task, find_task
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import load_classifier
from zskd.teacher.labelling import label_texts
from zskd.teacher.load import load_teacher
from zskd.text.corpus import build_corpus, log_corpus
from zskd.text.language import is_english, resolve_language
from zskd.text.shaping import build_pools, text_columns
from zskd.text.sources import find_sources
from zskd.training.targets import class_cosines
from zskd.transfer.logits import teacher_logits

logger = logging.getLogger(__name__)

HELDOUT = 64  # shaping holds out some documents, which the diagnosis does not use


def diagnose(config: DiagnoseConfig) -> dict[str, Any]:
    """Diagnose a teacher, or a run's teacher and student. The result of a run is written to ``RUN/diagnosis.json``.

    The text is shaped as the run's was; for a teacher alone, with random perturbation.

    Returns:
        ``task``, ``labels`` (names, in the order of every list and matrix below), ``teacher`` (name), ``run`` (folder
        or None), ``language`` (of the text: ``en``, ``other`` or what was asked for), ``texts`` (number),
        ``queries_live`` (texts that the teacher answered in this call), ``max_length``, ``cut`` (how many inputs were
        longer: ``texts``, and where there are any ``student`` and ``labelled``);

        ``signals``, see `zskd.diagnosis.signals`, where a *summary* is ``mean``, ``std``, ``p05``, ``p25``, ``p50``,
        ``p75``, ``p95``:

        - ``instance``: ``confidence`` (summary), ``sure`` (share above 0.99), ``histogram`` (``edges``, one more than
          ``shares``), ``by_temperature`` (temperature as text -> mean confidence), ``margin`` (summary);
        - ``domain`` (None for two classes): ``entropy`` (summary, 1 = even), ``flatness``, ``similarity``
          (``output_layer``: cosines, None for a black box; ``predictions``: correlations);
        - ``classes``: ``share`` of the answers and mean ``probability``, per class;
        - ``information``: 0 (all answers are equal) to 1;
        - ``separation``: per pair of classes, smallest separation first: ``classes`` (two indices), ``rows``, ``apart``
          (0 to 1), ``separation`` (0 or more; None for two classes);
        - ``levels``: ``domain`` and ``instance``, mean distances between the targets of kd, kd-pt and hard-label;
        - ``rescaling``: gradient of kd divided by that of cross-entropy, for an ``untrained`` student (summary) and for
          the run's ``student`` (summary or None);
        - ``calibration`` (None without labels): ``rows``, ``accuracy``, ``confidence``, ``ece``, ``bins`` as in
          `zskd.metrics.scores.reliability`;

        ``findings``: list of ``name``, ``trouble`` (False for a mere note), ``message``, ``evidence`` (numbers);
        ``advice``: ``objective`` (None: do not distil), ``temperature``, ``why``.

    Raises:
        InputError: the teacher, the text or the labelled file is not usable.
    """
    task, cache, run = find_task(config.task), cache_root(config.cache_dir), run_config(config.model)
    length = input_length(config)
    teacher = _load(task, config, run, cache)
    teacher.check_length(length, f"--teacher {teacher.name}" if run else f"TEACHER {config.model}")
    corpus = build_corpus(find_sources(config.corpus), 1.0, cache)
    log_corpus(corpus)
    language = resolve_language(config.language, corpus.sentences)
    wide = run is not None and run.pairs == "wide" and is_english(language)
    pools = build_pools(
        corpus,
        inputs=task.inputs,
        size=config.texts,
        heldout=HELDOUT,
        perturb=run.shaping if run else "random",
        seed=config.seed,
        cache=cache,
        language=language,
        encoder=embedded_encoder(cache) if wide else None,
    )
    precision = teacher.precision(config.precision)
    labelled = label_texts(
        pools.transfer,
        teacher.for_inference(precision),
        cache,
        max_length=length,
        precision=precision,
        description="teacher labels texts",
    )
    tell_cut("labelling", labelled.cut, labelled.queries, length, "different texts")
    cuts = {"texts": labelled.cut}
    path = config.data or task.probe_path()
    rows = None if path is None else read_labelled(task, path, skip_bad_rows=config.skip_bad_rows)
    found: dict[str, Any] = {
        "task": task.name,
        "labels": list(task.labels),
        "teacher": teacher.name,
        "run": config.model if run else None,
        "language": language,
        "texts": len(labelled.dataset),
        "queries_live": labelled.live,
        "max_length": length,
        "cut": cuts,
        "signals": measure(
            teacher_logits(labelled.dataset),
            cosines=_cosines(teacher),
            student=_student(task, config, run, labelled.dataset, cache, cuts),
            labelled=_calibration(rows, config, teacher, precision, cuts),
        ),
    }
    if rows is not None and rows.skipped:
        found["skipped_rows"] = rows.skipped
    found["findings"] = find(found["signals"], task.labels, teacher.outputs)
    found["advice"] = advise(found["signals"], found["findings"], task.num_labels, task.is_pair)
    if run:
        write_text(Path(config.model).expanduser() / FILE, json.dumps(found, indent=1) + "\n")
    return found


def _load(task: Task, config: DiagnoseConfig, run: DistillConfig | None, cache: Path) -> Teacher:
    if run is None:
        outputs = config.teacher_outputs
        return load_teacher(task, config.model, cache, None, config.label_map, outputs=outputs, flag="TEACHER")
    outputs = run.teacher_outputs
    return load_teacher(task, run.teacher, cache, run.teacher_revision, config.label_map, outputs=outputs)


def _cosines(teacher: Teacher) -> np.ndarray | None:
    try:
        return class_cosines(teacher.output_weights()).numpy()
    except InputError as error:
        logger.info("classes are compared by predictions only: %s", error)
        return None


def _student(
    task: Task, config: DiagnoseConfig, run: DistillConfig | None, pool: Any, cache: Path, cuts: dict[str, int | None]
) -> np.ndarray | None:
    folder = Path(config.model).expanduser() / "student"
    if run is None or not folder.is_dir():
        return None
    check_student(folder.parent)
    student = load_classifier(task, str(folder), cache, flag="RUN")
    texts = tuple(pool[name][:] for name in text_columns(pool))
    counted = Cuts(input_length(config))
    student.check_length(counted.max_length, f"RUN {folder}")
    logits = student.logits(texts, max_length=counted.max_length, cuts=counted)
    counted.tell("the run's student")
    cuts["student"] = counted.cut
    return logits


def _calibration(
    rows: Labelled | None, config: DiagnoseConfig, teacher: Teacher, precision: str, cuts: dict[str, int | None]
) -> tuple[np.ndarray, np.ndarray] | None:
    if rows is None:
        return None
    counted = Cuts(input_length(config))
    logits = teacher.logits(rows.texts, max_length=counted.max_length, precision=precision, cuts=counted)
    counted.tell("calibration", "rows")
    cuts["labelled"] = counted.cut
    return logits, np.asarray(rows.labels)
