"""The initial student: any sequence classifier, or one built from the teacher under a parameter budget."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    DebertaV2Config,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    set_seed,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.labels import make_single_label, record_texts
from zskd.models.lengths import record_length, set_reading_length
from zskd.models.loading import count_parameters, find_model, load_weights
from zskd.models.positions import UNLIMITED, length_problem
from zskd.models.tokenizers import SEGMENTS, gives_segments, load_tokenizer
from zskd.models.vocabulary import vocabulary_size
from zskd.student.word_features import cached_word_features, match_tokens
from zskd.system.seeds import Stream, seed_of
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import Classifier, check_fit

POSITIONS = UNLIMITED
ENCODER_SHARE = 0.3  # of the budget; the embedding table gets the rest
HEAD_WIDTH = 24
DISTANCES = 16  # distance buckets between tokens in each direction: exact up to 9, then coarser, one from 27 on

# (largest budget in parameters, number of layers)
_DEPTHS = ((2.0e6, 2), (8.0e6, 3), (float("inf"), 4))


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


def _architecture(task: Task, **shape: Any) -> PreTrainedConfig:
    """A configuration whose embedding table may be narrower than the layers; at this size the table dominates."""
    shape |= {
        "max_position_embeddings": POSITIONS,
        # The usual 0.02 is about 1/sqrt(768). In a layer of width 96, it would nearly block the signal at first.
        "initializer_range": shape["hidden_size"] ** -0.5,
        # A model this small underfits its inputs, so dropout only costs capacity (docs/measurements.md).
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        **label_config(task),
    }
    if task.is_pair:
        # Two texts are compared by tokens that attend to similar tokens at any position (see `match_tokens`).
        return ElectraConfig(classifier_dropout=0.0, **shape)
    # How a word affects its neighbours ("not good") is learned sooner from the distance between tokens than from their
    # absolute positions (docs/measurements.md).
    return DebertaV2Config(
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        share_att_key=True,
        position_buckets=DISTANCES,
        max_relative_positions=2 * DISTANCES,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        **shape,
    )


def student_config(vocab_size: int, budget: int, task: Task, **special: int | None) -> PreTrainedConfig:
    """Configuration of the largest student with at most `budget` parameters for a vocabulary.

    The architecture is DeBERTa-v2 for one text and ELECTRA for two. About `ENCODER_SHARE` of the budget goes to layers.

    Raises:
        InputError: the vocabulary alone exceeds the budget.
    """
    depth = next(layers for limit, layers in _DEPTHS if budget <= limit)

    def shape(embedding: int, width: int) -> PreTrainedConfig:
        return _architecture(
            task,
            vocab_size=vocab_size,
            embedding_size=embedding,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=width // HEAD_WIDTH,
            intermediate_size=3 * width,
            **special,
        )

    def size(config: PreTrainedConfig) -> int:
        with torch.device("meta"):
            return count_parameters(AutoModelForSequenceClassification.from_config(config, trust_remote_code=False))

    width = HEAD_WIDTH
    while size(shape(1, width + HEAD_WIDTH)) - vocab_size <= ENCODER_SHARE * budget:
        width += HEAD_WIDTH
    base, slope = size(shape(1, width)), size(shape(2, width)) - size(shape(1, width))
    embedding = min(width - 1, 1 + (budget - base) // slope)
    if embedding < 4:
        raise InputError(
            f"--compression: a budget of {budget:,} parameters does not hold a vocabulary of {vocab_size:,} tokens; "
            "lower it or name a --student"
        )
    return shape(int(embedding), width)


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
    tokenizer = teacher.tokenizer
    if tokenizer.padding_side == "left":  # as XLNet's; what is built counts positions from the left and reads the first
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = "right"
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    if task.is_pair and gives_segments(tokenizer, 2):  # XLNet has three
        special["type_vocab_size"] = max(2, 1 + max(tokenizer("one of them", "and another")[SEGMENTS]))
    config = student_config(vocabulary_size(tokenizer), int(teacher.parameters / compression), task, **special)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        features, asked = cached_word_features(teacher, table.shape[1], precision, cache)
        table[:, : features.shape[1]] = features  # if the teacher is narrower, the other dimensions stay random
    if isinstance(model, ElectraForSequenceClassification):
        match_tokens(model)
    set_reading_length(tokenizer, model.config)
    return model.eval(), tokenizer, asked


@dataclass(frozen=True)
class InitialStudent:
    """The untrained student.

    Attributes:
        model: a sequence classifier in float32.
        tokenizer: its tokenizer.
        revision: commit of a Hub model, else None.
        tokens: number of single tokens whose teacher answers it was built from.
        asked: how many of them the teacher answered in this run; the rest came from the cache.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    revision: str | None = None
    tokens: int = 0
    asked: int = 0


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
) -> InitialStudent:
    """The student that ``--student`` names: ``build``, ``default``, a folder or a Hub id.

    Args:
        seed: seed of random weights.
        max_length: tokens to which its inputs will be cut in training, which its configuration records; None if that
            is not known.

    Raises:
        InputError: it does not load, does not fit the budget, cannot read `max_length` tokens, or cannot be built
            because the teacher is a callable.
    """
    set_seed(seed_of(Stream.START, seed))
    if name == "build":
        source = teacher.require_weights("--student build")
        model, tokenizer, asked = build_student(task, source, compression, precision, cache)
        student = InitialStudent(model, tokenizer, tokens=vocabulary_size(tokenizer), asked=asked)
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
