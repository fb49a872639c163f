"""A student whose body is a start of `zskd pretrain`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.backbones import fetch_backbone, known_backbone
from zskd.models.lengths import set_reading_length
from zskd.models.loading import Origin, count_parameters, load_head
from zskd.models.quiet import quiet_transformers
from zskd.models.tokenizers import load_tokenizer
from zskd.models.vocabulary import vocabulary_fingerprint, vocabulary_size
from zskd.runs.start_record import EMPTY_COLUMNS, Start, no_packaged, open_start, packaged_starts
from zskd.student.built import label_config, student_tokenizer
from zskd.student.word_features import cached_response
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import Classifier

logger = logging.getLogger(__name__)

LEAST_USED = 0.9  # of the budget; a smaller packaged start is used where it is asked for alone


def started_student(
    task: Task,
    teacher: Teacher,
    name: str,
    compression: float,
    precision: str,
    cache: Path,
    *,
    ask_tokens: bool = True,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, int, Start]:
    """A student whose body is a start of `zskd pretrain`, with a new head from the global generator.

    It has the teacher's tokenizer, or, of a callable, that of the start's backbone. The columns of its table that the
    start leaves empty take the teacher's response to every single token, as large as the mean of the other columns.

    Args:
        name: folder of the start, or ``packaged``.
        precision: in which the teacher reads the tokens.
        ask_tokens: whether the teacher reads them; if not, as of a callable, those columns stay empty.

    Returns:
        The model (float32, evaluation mode), its tokenizer, the number of single tokens that the teacher was asked for
        in this run, and the start.

    Raises:
        InputError: the folder holds no start, or one that is damaged, of another vocabulary, or larger than
            1/compression of the teacher; or no start is packaged for such a task.
    """
    shown, source = f"--start-from {name}", None
    if teacher.tokenizer is None:
        start = open_start(name, pair=task.is_pair)
        tokenizer = student_tokenizer(_own_tokenizer(start, cache), two=task.is_pair)
        vocabulary = vocabulary_fingerprint(tokenizer)
    else:
        source = teacher.require_weights(shown)
        tokenizer = student_tokenizer(source.tokenizer, two=task.is_pair)
        vocabulary = vocabulary_fingerprint(tokenizer)
        start = open_start(name, pair=task.is_pair, vocabulary=vocabulary)
    record = start.record
    if record["vocabulary"] != vocabulary:
        raise InputError(
            f"{shown}: expected a start of the teacher's vocabulary, found {_other_vocabulary(record, teacher)}; make "
            "one with `zskd pretrain --backbone` and a model of the teacher's vocabulary, or use --start-from none"
        )
    if not task.is_pair and record["inputs"] == "two" and name != "packaged":
        logger.warning("%s: it has read pairs of texts only, and %s has one text", shown, task.name)
    # The head is always new, which is nothing to tell.
    with quiet_transformers():  # it would say that the start's own labels are others
        model, _ = load_head(
            Origin(str(start.folder)), flag="--start-from", new_head=label_config(task), level=logging.DEBUG
        )
    size = count_parameters(model)
    if teacher.parameters is not None and size > (most := int(teacher.parameters / compression)):
        raise InputError(
            f"{shown}: expected a student of at most {most:,} parameters (1/{compression:g} of the teacher's "
            f"{teacher.parameters:,}), found one of {size:,}; lower --compression, or make a smaller start"
        )
    asked = 0
    if ask_tokens and source is not None:
        empty = min(record[EMPTY_COLUMNS], task.num_labels - 1)
        response, asked = cached_response(source, empty, precision, cache)
        with torch.no_grad():
            table = model.get_input_embeddings().weight
            scale = table[:, record[EMPTY_COLUMNS] :].std(dim=0).mean()
            table[:, : response.shape[1]] = response * scale
    set_reading_length(tokenizer, model.config)
    backbone = record["made_of"]["backbone"]["name"]
    trained_on = f"; {backbone} was trained on {record['trained_on']}" if record.get("trained_on") else ""
    logger.info("student: it begins with %s, which learned the states of %s%s", _named(start), backbone, trained_on)
    return model.eval(), tokenizer, asked, start


def _own_tokenizer(start: Start, cache: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that a start was made with: beside it, or, of a packaged one, its backbone's."""
    if start.name != "packaged":
        return load_tokenizer(Origin(str(start.folder)), flag="--start-from")
    backbone = known_backbone(start.record["made_of"]["backbone"]["name"])
    assert backbone is not None  # the packaged ones are of those that zskd knows
    return load_tokenizer(Origin(str(fetch_backbone(backbone, cache))), flag="--start-from")


def chosen_start(task: Task, teacher: Classifier, compression: float, *, ask_tokens: bool = True) -> str:
    """What ``--start-from auto`` stands for: ``packaged`` where that start fits the task and the teacher, or ``none``.

    It fits where a start is packaged for such a task, it reads the teacher's vocabulary, and a student of it takes
    between `LEAST_USED` of the budget and all of it. One that has read pairs only is taken for single texts where the
    teacher is not asked for single tokens, from which these students learn more (docs/measurements.md). The log says
    why it does not fit.
    """
    if problem := _packaged_problem(task, teacher, compression, ask_tokens):
        logger.info("student: it begins with random layers (--start-from auto): %s", problem)
        return "none"
    return "packaged"


def _packaged_problem(task: Task, teacher: Classifier, compression: float, ask_tokens: bool) -> str | None:
    if not packaged_starts(pair=task.is_pair):
        return no_packaged(pair=task.is_pair)
    vocabulary = vocabulary_fingerprint(teacher.tokenizer)
    start = open_start("packaged", pair=task.is_pair, vocabulary=vocabulary)
    if not task.is_pair and start.record["inputs"] == "two" and ask_tokens:
        return no_packaged(pair=False)
    if start.record["vocabulary"] != vocabulary:
        return f"the packaged start has {_other_vocabulary(start.record, teacher)}"
    with quiet_transformers():
        config = AutoConfig.from_pretrained(start.folder, trust_remote_code=False, **label_config(task))
    with torch.device("meta"):
        size = count_parameters(AutoModelForSequenceClassification.from_config(config, trust_remote_code=False))
    most = int(teacher.parameters / compression)
    if not LEAST_USED * most <= size <= most:
        return (
            f"the packaged start makes a student of {size:,} parameters, and --compression {compression:g} allows "
            f"{most:,}"
        )
    return None


def _other_vocabulary(record: dict[str, Any], teacher: Teacher) -> str:
    assert teacher.tokenizer is not None
    own, size = record["made_of"]["shape"]["vocab_size"], vocabulary_size(teacher.tokenizer)
    return f"another vocabulary ({own:,} tokens) than the teacher ({size:,} tokens)"


def _named(start: Start) -> str:
    return "the packaged start" if start.name == "packaged" else f"the start {start.name}"
