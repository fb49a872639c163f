"""The one reading length of a model in its tokenizer, for everyone who opens the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets import Dataset
from tokenizers import Tokenizer
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.labels import LENGTH_FIELD
from zskd.models.positions import reading_length, usable_positions
from zskd.system.files import write_text


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
    """Save a tokenizer beside its model, with the length that the model reads (`set_reading_length`).

    What the model was trained with is listed (``model_input_names``), because versions of transformers differ in it.
    """
    set_reading_length(tokenizer, config)
    tokenizer.init_kwargs["model_input_names"] = list(tokenizer.model_input_names)
    tokenizer.save_pretrained(folder)
    path = Path(folder) / "tokenizer_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("tokenizer_class") == "TokenizersBackend":
        # The general class by the name that transformers 4 knows as well.
        write_text(path, json.dumps({**content, "tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n")


def check_rows(rows: Any, model: Any, shown: str) -> None:
    """Check that a model has positions for all rows of a data set.

    Models that are not of transformers and sets that are not a `datasets.Dataset` say nothing of their length.

    Args:
        rows: with a column ``length`` or ``input_ids``.
        shown: the rows, as messages name them.

    Raises:
        InputError: a row is longer.
    """
    positions = usable_positions(model.config.to_dict()) if isinstance(model, PreTrainedModel) else None
    if positions is None or not isinstance(rows, Dataset) or not len(rows):
        return
    if "length" in rows.column_names:
        longest = int(rows.with_format("numpy", columns=["length"])["length"][:].max())
    elif "input_ids" in rows.column_names:
        longest = max(map(len, rows["input_ids"]))
    else:
        return
    if longest > positions:
        raise InputError(
            f"{shown}: expected rows of at most the {positions} positions of the model, found one of {longest} tokens; "
            "encode them with a smaller max_length"
        )
