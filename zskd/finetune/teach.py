"""`finetune`: from labelled rows to a saved teacher, its record and its scores."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel

from zskd.config.resolve import cache_root
from zskd.config.verbs import FinetuneConfig
from zskd.errors import InputError
from zskd.finetune.classifier_trainer import Trained, train
from zskd.finetune.start import Start, make_start, training_precision
from zskd.finetune.teacher_scores import score_teacher
from zskd.models.adapters import save_adapter
from zskd.models.lengths import save_tokenizer
from zskd.models.quiet import quiet_transformers
from zskd.runs.read import read_part
from zskd.runs.training_folder import (
    RECORD,
    fingerprint_problems,
    output_path,
    recorded_options,
    started_from,
    steps_saved,
    training_problems,
    working_folder,
    write_started,
)
from zskd.system.files import replacing, sha256_file, write_text
from zskd.system.os_faults import keeping, writing
from zskd.system.unfinished import clear_unfinished
from zskd.tasks.defaults import input_length, with_task_defaults
from zskd.tasks.task import Task, find_task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finetuned:
    """Result of `finetune`: the folder, and the record that is also written to ``training.json`` in it."""

    folder: Path
    record: dict[str, Any]


def finetune(config: FinetuneConfig) -> Finetuned:
    """Train a classifier on a task in GLUE's layout and save it with a record of how it was made.

    With ``config.resume``, a training that was ended goes on from its newest checkpoint, and its teacher is that of an
    undisturbed training, bit for bit on one kind of machine. A finished teacher is returned as it is; one that was
    ended while it was scored is scored.

    Raises:
        InputError: files or backbone are not usable, all rows are of one class, the backbone cannot read inputs of
            ``max_length`` tokens, or this device cannot train in the precision; there is an unfinished training that
            would be lost, or that began with something else. If it is the dev file, the teacher is kept, with a record
            without scores, and the message says how to score it.
        RunError: training ended in weights that are no numbers, or no checkpoint is as it was written.
    """
    config = with_task_defaults(config)
    precision = training_precision(config.precision)
    task = find_task(config.task)
    output = output_path(config, task)
    work, cache = working_folder(output), cache_root(config.cache_dir)
    if problems := training_problems(config, task):
        raise InputError(problems)
    if config.resume and (done := _finished(output)) is not None:
        shutil.rmtree(work, ignore_errors=True)
        return done if "scores" in done.record else _scored(config, task, output, done.record, cache)
    start = make_start(config, task, cache, precision)
    with _working(work):
        _begin(config, work, start)
        with writing(work):
            trained = train(config, start, work)
        record = _record(config, task, start, trained)
        _keep(config, output, start, record)
    shutil.rmtree(work, ignore_errors=True)
    return _scored(config, task, output, record, cache)


@contextmanager
def _working(work: Path) -> Iterator[None]:
    """Remove the working folder where nothing in it can be gone on from."""
    try:
        yield
    except BaseException:
        if steps_saved(work) is None:
            shutil.rmtree(work, ignore_errors=True)
        raise


def _begin(config: FinetuneConfig, work: Path, start: Start) -> None:
    """Make the working folder, or find that of a training that goes on.

    Raises:
        InputError: that began with other rows, another base, or in another precision.
    """
    if steps_saved(work) is not None:
        if problems := fingerprint_problems(config, work, start.precision, start.fingerprints, start.source):
            raise InputError(problems)
        clear_unfinished(work, deep=True, owned=True)
        return
    shutil.rmtree(work, ignore_errors=True)
    with writing(work):
        work.mkdir(parents=True)
        write_started(work, config, start.precision, start.fingerprints)


def _record(config: FinetuneConfig, task: Task, start: Start, trained: Trained) -> dict[str, Any]:
    accuracies = trained.accuracies
    return {
        "task": task.name,
        "options": recorded_options(config),
        "started_from": started_from(config),
        "undistillable": start.fingerprints.get("undistillable"),
        "precision": start.precision,
        "training_rows": len(start.train),
        "selection_rows": len(start.selection),
        "skipped_rows": start.skipped,
        "selection_accuracy": {name: round(value, 4) for name, value in accuracies.items()},
        "chosen": max(accuracies, key=lambda name: accuracies[name]),
        "steps": trained.steps,
        "seconds": round(trained.seconds, 1),
        "max_length": input_length(config),
        "cut": {name: counted.cut for name, counted in start.cuts.items()},
    }


def _keep(config: FinetuneConfig, output: Path, start: Start, record: dict[str, Any]) -> None:
    """Save the teacher, with its record, so that it has one, whatever ends the scoring."""
    with replacing(output) as temporary, quiet_transformers():
        temporary.mkdir()
        if isinstance(start.model, PeftModel):
            save_adapter(start.model, temporary, config.base)
        else:
            start.model.save_pretrained(temporary)
            save_tokenizer(start.tokenizer, start.model.config, temporary)
        record["sha256"] = {path.name: sha256_file(path) for path in sorted(temporary.glob("*.safetensors"))}
        _write_record(temporary, record)


def _finished(output: Path) -> Finetuned | None:
    """The teacher in the output folder, if there is one.

    Raises:
        InputError: its weights are others than those that were written.
    """
    record: dict[str, Any] | None = read_part(output, RECORD)
    if record is None:
        return None
    for name, checksum in record.get("sha256", {}).items():
        if not (output / name).is_file() or sha256_file(output / name) != checksum:
            raise InputError(
                f"--output-dir {output}: expected the weights that the training wrote, found others in {name}; put the "
                "file back, or remove the folder to train from the beginning"
            )
    logger.info("%s holds the finished teacher; nothing is left to train", output)
    return Finetuned(output, record)


def _scored(config: FinetuneConfig, task: Task, output: Path, record: dict[str, Any], cache: Path) -> Finetuned:
    """Score the saved teacher, and complete its record."""
    kept = f"the teacher is finished and kept in {output}"
    with keeping(kept):
        try:
            record["scores"], cut = score_teacher(task, config, output, cache)
            record["cut"] |= cut
        except InputError as error:
            how = f"`zskd evaluate --model {output} --task {config.task} --data FILE.tsv`"
            raise InputError([*error.problems, f"{kept}; score it with {how}"]) from error
        finally:
            _write_record(output, record)
    return Finetuned(output, record)


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
