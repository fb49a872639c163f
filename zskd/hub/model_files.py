"""The list of files that make up a saved model. No other file of a folder is ever uploaded."""

from __future__ import annotations

import json
from pathlib import Path

from zskd.errors import InputError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")


def model_files(folder: Path) -> list[Path]:
    """Weights (safetensors), configuration and tokenizer of a model folder, sorted by name.

    Raises:
        InputError: one of the three is missing, or the folder or a file is a link, which could point anywhere.
    """
    if folder.is_symlink():
        raise InputError(f"{folder}: expected a folder, found a link, which could point anywhere; copy the folder")
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a model folder, found none")
    names = [CONFIG, *_weights(folder), *(name for name in TOKENIZER if (folder / name).exists())]
    problems = []
    for name in names:
        path = folder / name
        if path.is_symlink():
            problems.append(f"{path}: expected a file, found a link; save the model anew")
        elif not path.is_file():
            problems.append(f"{path}: expected a file of a saved model, found none")
    if not set(VOCABULARIES) & set(names):
        problems.append(f"{folder}: expected a tokenizer ({' or '.join(VOCABULARIES)}), found none")
    if problems:
        raise InputError(problems)
    return [folder / name for name in sorted(names)]


def _weights(folder: Path) -> list[str]:
    """The weights file, or the index and the shards that it names."""
    index = folder / WEIGHTS_INDEX
    if (folder / WEIGHTS).exists() or not index.is_file():
        return [WEIGHTS]
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{index}: expected an index of weight files, found: {error!r}") from error
    wrong = [shard for shard in shards if not _is_shard(shard)]
    if wrong:
        raise InputError(f"{index}: expected names like model-00001-of-00002.safetensors, found {wrong[0]!r}")
    return [WEIGHTS_INDEX, *shards]


def _is_shard(name: object) -> bool:
    return (
        isinstance(name, str)
        and Path(name).name == name
        and name.startswith("model-")
        and name.endswith(".safetensors")
    )
