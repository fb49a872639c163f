"""The one reading length of a model in its tokenizer, for everyone who opens the files."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedConfig
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.models.labels import LENGTH_FIELD
from zskd.models.positions import reading_length


def record_length(config: PreTrainedConfig, max_length: int) -> None:
    """Record in a configuration to how many tokens the model's inputs are cut in training."""
    config.update({LENGTH_FIELD: max_length})


def set_reading_length(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> None:
    """Make a tokenizer cut where its model stops reading (`zskd.models.positions.reading_length`).

    Truncation and padding that its last call left behind, or that its file came with, are replaced: ``tokenizer.json``
    holds them, and the tokenizers library and others cut and pad by them.
    """
    length = reading_length(config.to_dict(), tokenizer.model_max_length)
    tokenizer.model_max_length = length
    if "max_length" in tokenizer.init_kwargs:  # of the truncation in the file that it came from
        tokenizer.init_kwargs["max_length"] = length
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if isinstance(backend, Tokenizer):
        backend.enable_truncation(length, direction=tokenizer.truncation_side)
        backend.no_padding()


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, folder: str | Path) -> None:
    """Save a tokenizer beside its model, with the length that the model reads (`set_reading_length`)."""
    set_reading_length(tokenizer, config)
    tokenizer.save_pretrained(folder)
