"""What a training of a teacher begins with: rows, split and encoded, and a model, with fingerprints of both."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, set_seed
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.config.cost import fast, slow
from zskd.config.verbs import FinetuneConfig
from zskd.errors import InputError
from zskd.finetune.undistillable import USUAL, usual_logits
from zskd.hub.glue_rows import hub_rows
from zskd.models.adapters import new_adapter, start_from
from zskd.models.encoding import Cuts, encode_texts
from zskd.models.labels import record_texts
from zskd.models.lengths import record_length
from zskd.models.loading import backbone_origin, load_head, model_fingerprint
from zskd.models.positions import length_problem
from zskd.models.tokenizers import load_tokenizer
from zskd.system.paths import expanded
from zskd.system.precision import pick_precision
from zskd.system.seeds import Stream, seed_of
from zskd.tasks.defaults import input_length
from zskd.tasks.labelled import Labelled, check_classes, read_labelled
from zskd.tasks.phrases import split_rows
from zskd.tasks.task import Task
from zskd.teacher.classifier import check_fit, pick_device

logger = logging.getLogger(__name__)

NO_GLUE_DIR = "--glue-dir (none given)"  # name of the Hub's rows in messages


@dataclass(frozen=True)
class Start:
    """A training before its first step.

    Attributes:
        model: a classifier, or a new adapter around one.
        train, selection: encoded rows with ``labels`` and ``length``; those to train on also with the logits of a usual
            teacher, where it is contradicted.
        cuts: what was cut of either.
        skipped: bad rows that were left out.
        steps: optimizer steps, about.
        precision: in which it trains.
        source: the rows, as messages name them.
        fingerprints: SHA-256 of the encoded rows with their labels, and of all weights that were loaded.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    train: Dataset
    selection: Dataset
    cuts: dict[str, Cuts]
    skipped: int
    steps: int
    precision: str
    source: str
    fingerprints: dict[str, str]


def training_precision(asked: str) -> str:
    """The precision in which this machine trains.

    Raises:
        InputError: it does not train in it.
    """
    precision = pick_precision(asked, device := pick_device())
    if precision == "fp16" and device.type != "cuda":
        raise InputError(
            f"--precision fp16: expected a CUDA device to train on, found {device.type}; use --precision bf16, fp32 or "
            "auto"
        )
    return precision


def make_start(config: FinetuneConfig, task: Task, cache: Path, precision: str) -> Start:
    """Read the rows, load the model, and set all random generators to ``config.seed``.

    Raises:
        InputError: files or backbone are not usable, all rows are of one class, or the backbone cannot read inputs of
            ``max_length`` tokens.
    """
    if config.glue_dir is None:
        rows, source = hub_rows(task, "train", flag=NO_GLUE_DIR), NO_GLUE_DIR
    else:
        source = str(task.train_file(config.glue_dir))
        rows = read_labelled(task, source, skip_bad_rows=config.skip_bad_rows)
    train, selection = _split(config, task, rows, source)
    usual = None if config.undistillable is None else usual_logits(config, task, train, cache)
    steps = max(1, round(config.epochs * len(train.labels) / config.batch_size))
    shown = f"--epochs {config.epochs:g}, --batch-size {config.batch_size}"
    for line in slow(shown, steps) + fast("--learning-rate", config.learning_rate):
        logger.warning(line)
    set_seed(seed_of(Stream.START, config.seed))
    model, tokenizer, base = _load(config, task, cache)
    cuts = {"training": Cuts(input_length(config)), "selection": Cuts(input_length(config))}
    encoded = [
        _encode(part, tokenizer, counted, stage)
        for part, (stage, counted) in zip((train, selection), cuts.items(), strict=True)
    ]
    fingerprints = {"rows": _rows_fingerprint(encoded), "base": base}
    if usual is not None:
        encoded[0] = encoded[0].add_column(USUAL, usual[0])
        fingerprints["undistillable"] = usual[1]
    return Start(
        model=model,
        tokenizer=tokenizer,
        train=encoded[0],
        selection=encoded[1],
        cuts=cuts,
        skipped=rows.skipped,
        steps=steps,
        precision=precision,
        source=source,
        fingerprints=fingerprints,
    )


def _split(config: FinetuneConfig, task: Task, rows: Labelled, source: str) -> tuple[Labelled, Labelled]:
    train, selection = split_rows(rows, config.selection_rows, config.max_rows, config.seed)
    if not train.labels or not selection.labels:
        raise InputError(
            f"{source}: expected rows to train on, and up to a fifth of other texts to choose the checkpoint; found "
            f"{len(train.labels)} and {len(selection.labels)} in {len(rows.labels)} row(s); a text that is equal to "
            "one of the latter or part of it is not trained on; add rows"
        )
    check_classes(task, train, source)
    return train, selection


def _load(
    config: FinetuneConfig, task: Task, cache: Path
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase, str]:
    """Model, tokenizer, and the fingerprint of the weights from files, as new ones depend on the machine's kind."""
    origin = backbone_origin(config.base, cache, flag="--base")
    names = dict(enumerate(task.labels))
    head = {"num_labels": task.num_labels, "id2label": names, "label2id": {v: k for k, v in names.items()}}
    model, new = load_head(origin, flag="--base", new_head=head)
    record_texts(model.config, task)
    tokenizer = load_tokenizer(origin, flag="--base")
    check_fit(model, tokenizer, shown=f"--base {config.base}")
    length = input_length(config)
    if problem := length_problem(model.config.to_dict(), tokenizer.model_max_length, f"--base {config.base}", length):
        raise InputError(problem)
    record_length(model.config, length)
    base = model_fingerprint(model, without=new)
    if config.full:
        return model, tokenizer, base
    adapted = new_adapter(model, config.rank, new, last_layers=config.last_layers)
    if config.adapter:
        start_from(adapted, expanded(config.adapter))
    return adapted, tokenizer, base


def _encode(rows: Labelled, tokenizer: PreTrainedTokenizerBase, cuts: Cuts, stage: str) -> Dataset:
    found = encode_texts(tokenizer, rows.texts, cuts.max_length)
    cuts.add(found, len(rows.labels))
    cuts.tell(stage, "rows")
    encoded = dict(found)
    encoded["length"] = [len(ids) for ids in encoded["input_ids"]]
    return Dataset.from_dict({**encoded, "labels": rows.labels})


def _rows_fingerprint(parts: list[Dataset]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for column in ("length", "labels", "input_ids"):
            found = part.data.column(column).combine_chunks()
            values = found.flatten() if column == "input_ids" else found
            digest.update(values.to_numpy(zero_copy_only=False).astype(np.int64).tobytes())
    return digest.hexdigest()
