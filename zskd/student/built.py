"""A student built from the teacher under a budget of parameters, with random layers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, ElectraForSequenceClassification, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.models.lengths import set_reading_length
from zskd.models.segments import with_segments
from zskd.models.vocabulary import vocabulary_size
from zskd.student.shape import special_values, student_config
from zskd.student.word_features import cached_word_features, match_tokens, own_features
from zskd.tasks.task import Task
from zskd.teacher.classifier import Classifier


def label_config(task: Task) -> dict[str, Any]:
    """``num_labels``, ``id2label`` and ``label2id`` of a student: the task's names in the task's order."""
    return {
        "num_labels": task.num_labels,
        "id2label": dict(enumerate(task.labels)),
        "label2id": {name: i for i, name in enumerate(task.labels)},
    }


def build_student(
    task: Task, teacher: Classifier, compression: float, precision: str, cache: Path, *, ask_tokens: bool = True
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, int]:
    """Build a stock classifier with at most 1/compression of the teacher's parameters, embeddings included.

    It reads the teacher's token ids (`student_tokenizer`). Its word embeddings start from the teacher's reaction to
    each token (see `zskd.student.word_features`), and for two texts its first attention layer starts by comparing
    tokens. All other weights are drawn from the global generator.

    Args:
        precision: ``fp32`` or ``bf16``, the precision in which the teacher reads the tokens.
        ask_tokens: whether the teacher reads them. If not, the word embeddings start from its own (`own_features`).

    Returns:
        The model (float32, evaluation mode), its tokenizer, and the number of single tokens that the teacher was asked
        for in this run.
    """
    tokenizer = student_tokenizer(teacher.tokenizer, two=task.is_pair)
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
        if ask_tokens:
            features, asked = cached_word_features(teacher, table.shape[1], precision, cache)
        else:
            features, asked = own_features(teacher, table.shape[1]), 0
        table[:, : features.shape[1]] = features  # if the teacher is narrower, the other dimensions stay random
    if isinstance(model, ElectraForSequenceClassification):
        match_tokens(model.electra)
    set_reading_length(tokenizer, model.config)
    return model.eval(), tokenizer, asked


def student_tokenizer(tokenizer: PreTrainedTokenizerBase, *, two: bool) -> PreTrainedTokenizerBase:
    """The tokenizer of a student that is built, from its teacher's: the ids are the same.

    A student counts positions from the left and reads the first token, unlike XLNet, and tells two texts apart, unlike
    RoBERTa and MPNet.
    """
    if two:
        tokenizer = with_segments(tokenizer)
    if tokenizer.padding_side == "left":
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = "right"
    return tokenizer
