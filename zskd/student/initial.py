"""The initial student: any sequence classifier, or one built from the teacher under a parameter budget."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    ElectraForSequenceClassification,
    PreTrainedModel,
    set_seed,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.labels import make_single_label, record_texts
from zskd.models.lengths import record_length, set_reading_length
from zskd.models.loading import Origin, count_parameters, find_model, load_weights
from zskd.models.positions import length_problem
from zskd.models.tokenizers import load_tokenizer
from zskd.models.vocabulary import vocabulary_fingerprint, vocabulary_size
from zskd.runs.start_record import EMPTY_COLUMNS, read_start
from zskd.student.shape import special_values, student_config
from zskd.student.word_features import cached_response, cached_word_features, match_tokens
from zskd.system.paths import expanded
from zskd.system.seeds import Stream, seed_of
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import Classifier, check_fit

logger = logging.getLogger(__name__)


def label_config(task: Task) -> dict[str, Any]:
    """``num_labels``, ``id2label`` and ``label2id`` of a student: the task's names in the task's order."""
    return {
        "num_labels": task.num_labels,
        "id2label": dict(enumerate(task.labels)),
        "label2id": {name: i for i, name in enumerate(task.labels)},
    }


def load_student(
    task: Task, name: str, revision: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, str | None]:
    """Load a student from a folder or the Hub; it gets a new head unless its own has the task's labels, in any order.

    Returns:
        The model (float32), its tokenizer, and the commit of a Hub model.
    """
    origin = find_model(task.student if name == "default" else name, revision, flag="--student")
    model = load_weights(origin, flag="--student", new_head=label_config(task))
    tokenizer = load_tokenizer(origin, flag="--student")
    check_fit(model, tokenizer, shown=f"--student {origin.name}")
    set_reading_length(tokenizer, model.config)
    return model, tokenizer, origin.revision


def build_student(
    task: Task, teacher: Classifier, compression: float, precision: str, cache: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, int]:
    """Build a stock classifier with at most 1/compression of the teacher's parameters, embeddings included.

    It uses the teacher's tokenizer. Its word embeddings start from the teacher's reaction to each token (see
    `zskd.student.word_features`), and for two texts its first attention layer starts by comparing tokens. All other
    weights are drawn from the global generator.

    Args:
        precision: ``fp32`` or ``bf16``, the precision in which the teacher reads the tokens.

    Returns:
        The model (float32, evaluation mode), its tokenizer, and the number of single tokens that the teacher was asked
        for in this run.
    """
    tokenizer = padded_right(teacher.tokenizer)
    config = student_config(
        vocabulary_size(tokenizer),
        int(teacher.parameters / compression),
        two=task.is_pair,
        labels=label_config(task),
        special=special_values(tokenizer, two=task.is_pair),
    )
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        features, asked = cached_word_features(teacher, table.shape[1], precision, cache)
        table[:, : features.shape[1]] = features  # if the teacher is narrower, the other dimensions stay random
    if isinstance(model, ElectraForSequenceClassification):
        match_tokens(model.electra)
    set_reading_length(tokenizer, model.config)
    return model.eval(), tokenizer, asked


def padded_right(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer of what is built, which counts positions from the left and reads the first, unlike XLNet."""
    if tokenizer.padding_side == "left":
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = "right"
    return tokenizer


def started_student(
    task: Task, teacher: Classifier, name: str, compression: float, precision: str, cache: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, int, dict[str, Any]]:
    """A student whose body is a start of `zskd pretrain`, with a new head from the global generator.

    The columns of its table that the start leaves empty take the teacher's response to every single token, as large as
    the mean of the other columns.

    Args:
        name: folder of the start.
        precision: in which the teacher reads the tokens.

    Returns:
        The model (float32, evaluation mode), its tokenizer, the number of single tokens that the teacher was asked for
        in this run, and what a record says of the start.

    Raises:
        InputError: the folder holds no start, or one that is damaged, of another vocabulary, or larger than
            1/compression of the teacher.
    """
    shown, origin = f"--start-from {name}", Origin(str(expanded(name)))
    record = read_start(expanded(name))
    tokenizer = padded_right(teacher.tokenizer)
    if record["vocabulary"] != vocabulary_fingerprint(tokenizer):
        size, own = vocabulary_size(tokenizer), record["made_of"]["shape"]["vocab_size"]
        raise InputError(
            f"{shown}: expected a start of the teacher's vocabulary ({size:,} tokens), found one of another ({own:,} "
            "tokens); make one with `zskd pretrain --backbone` and a model of the teacher's vocabulary, or use "
            "--start-from none"
        )
    if not task.is_pair and record["inputs"] == "two":
        logger.warning("%s: it has read pairs of texts only, and %s has one text", shown, task.name)
    model = load_weights(origin, flag="--start-from", new_head=label_config(task))
    size, most = count_parameters(model), int(teacher.parameters / compression)
    if size > most:
        raise InputError(
            f"{shown}: expected a student of at most {most:,} parameters (1/{compression:g} of the teacher's "
            f"{teacher.parameters:,}), found one of {size:,}; lower --compression, or make a smaller start"
        )
    empty = min(record[EMPTY_COLUMNS], task.num_labels - 1)
    response, asked = cached_response(teacher, empty, precision, cache)
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        scale = table[:, record[EMPTY_COLUMNS] :].std(dim=0).mean()
        table[:, : response.shape[1]] = response * scale
    set_reading_length(tokenizer, model.config)
    said = {"name": expanded(name).name, "fingerprint": record["fingerprint"], "made_of": record["made_of"]}
    return model.eval(), tokenizer, asked, said


@dataclass(frozen=True)
class InitialStudent:
    """The untrained student.

    Attributes:
        model: a sequence classifier in float32.
        tokenizer: its tokenizer.
        revision: commit of a Hub model, else None.
        tokens: number of single tokens whose teacher answers it was built from.
        asked: how many of them the teacher answered in this run; the rest came from the cache.
        start: what a record says of the start; None without one.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    revision: str | None = None
    tokens: int = 0
    asked: int = 0
    start: dict[str, Any] | None = None


def initial_student(
    task: Task,
    name: str,
    revision: str | None,
    teacher: Teacher,
    *,
    compression: float,
    precision: str,
    seed: int,
    cache: Path,
    max_length: int | None = None,
    start: str = "none",
) -> InitialStudent:
    """The student that ``--student`` names: ``build``, ``default``, a folder or a Hub id.

    Args:
        seed: seed of random weights.
        max_length: tokens to which its inputs will be cut in training, which its configuration records; None if that
            is not known.
        start: folder of the start of a built student, or ``none``.

    Raises:
        InputError: it does not load, does not fit the budget, cannot read `max_length` tokens, or cannot be built
            because the teacher is a callable.
    """
    set_seed(seed_of(Stream.START, seed))
    if name == "build":
        source = teacher.require_weights("--student build")
        size, said = vocabulary_size(source.tokenizer), None
        if start == "none":
            model, tokenizer, asked = build_student(task, source, compression, precision, cache)
        else:
            model, tokenizer, asked, said = started_student(task, source, start, compression, precision, cache)
        student = InitialStudent(model, tokenizer, tokens=size, asked=asked, start=said)
    else:
        student = InitialStudent(*load_student(task, name, revision))
    record_texts(student.model.config, task)
    make_single_label(student.model.config)
    if max_length is not None:
        config, limit = student.model.config, student.tokenizer.model_max_length
        if problem := length_problem(config.to_dict(), limit, f"--student {name}", max_length):
            raise InputError(problem)
        record_length(config, max_length)
    return student
