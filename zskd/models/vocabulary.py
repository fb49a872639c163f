"""Comparing vocabularies, for methods in which teacher and student read the same token ids."""

from __future__ import annotations

import hashlib
import json

import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError


def require_one_vocabulary(
    teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase, *, why: str, left: str = "the teacher"
) -> None:
    """Check that both tokenizers give every token the same id.

    Args:
        why: what requires it, for the message.
        left: owner of the first tokenizer, for the message.

    Raises:
        InputError: they differ; the message names both sizes and the first id that differs.
    """
    one, other = ({index: token for token, index in t.get_vocab().items()} for t in (teacher, student))
    for index in range(max(*one, *other) + 1):
        if one.get(index) != other.get(index):
            shown = [repr(side[index]) if index in side else "nothing" for side in (one, other)]
            raise InputError(
                f"{why}: expected {left} and the student to share one vocabulary, found {len(one):,} and "
                f"{len(other):,} tokens; the first difference is id {index}: {shown[0]} in {left}'s, {shown[1]} in the "
                "student's"
            )


def vocabulary_size(tokenizer: PreTrainedTokenizerBase) -> int:
    """Rows that an embedding table needs: the largest id plus one, which may exceed the number of tokens."""
    return 1 + max(tokenizer.get_vocab().values())


def vocabulary_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hex SHA-256 over all tokens with their ids."""
    return hashlib.sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()).hexdigest()


def check_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, shown: str) -> None:
    """Check that every id of a tokenizer has a row in the model's embedding table.

    Raises:
        InputError: an id has no row, so the tokenizer belongs to another model, or the model has no such table.
    """
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:  # CANINE
        table = None
    if not isinstance(table, torch.nn.Embedding):
        raise InputError(
            f"{shown}: expected a model with an embedding for every token, found {model.config.model_type}, which "
            "reads text in another way; name a model of another family"
        )
    rows = table.weight.shape[0]
    if (largest := vocabulary_size(tokenizer) - 1) >= rows:
        raise InputError(
            f"{shown}: its tokenizer gives ids up to {largest:,}, its embedding table has {rows:,} rows; "
            "is it the tokenizer of another model?"
        )
