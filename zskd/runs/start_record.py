"""The record of a start: what `zskd pretrain` made it of, beside its weights.

START/config.json, model.safetensors, tokenizer files    a stock model that ``AutoModel`` loads
START/pretraining.json                                   the record

Imports neither torch nor transformers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zskd.config.pretraining import PretrainConfig
from zskd.errors import InputError
from zskd.runs.read import read_part
from zskd.system.files import sha256_file, write_text
from zskd.system.paths import is_file, is_folder

RECORD = "pretraining.json"
WEIGHTS = "model.safetensors"
EMPTY_COLUMNS = "empty_columns"  # leading columns of the table that a task fills
_KINDS: dict[str, type] = {
    "inputs": str,
    EMPTY_COLUMNS: int,
    "vocabulary": str,
    "fingerprint": str,
    "made_of": dict,
    "sha256": str,
}


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write a start's record, with the checksum of its weights."""
    content = {**record, "sha256": sha256_file(folder / WEIGHTS)}
    write_text(folder / RECORD, json.dumps(content, indent=2) + "\n")


def read_start(folder: Path, *, flag: str = "--start-from") -> dict[str, Any]:
    """The record of a start, whose weights are as they were written.

    Raises:
        InputError: the folder holds no start, or a damaged one.
    """
    shown = f"{flag} {folder}"
    if not is_folder(folder) or not is_file(folder / RECORD):
        raise InputError(
            f"{shown}: expected the folder of a start, which `zskd pretrain` makes, found "
            f"{'no ' + RECORD + ' in it' if is_folder(folder) else 'no such folder'}"
        )
    record: dict[str, Any] = read_part(folder, RECORD) or {}
    if not all(isinstance(record.get(name), kind) for name, kind in _KINDS.items()) or not record[EMPTY_COLUMNS] >= 0:
        raise InputError(f"{folder / RECORD}: expected the record of a start, found something else; make it anew")
    if not is_file(folder / WEIGHTS) or sha256_file(folder / WEIGHTS) != record["sha256"]:
        raise InputError(f"{shown}: expected the weights that its record names, found others; make it anew")
    return record


def start_path(config: PretrainConfig) -> Path:
    """The folder of the start that `zskd pretrain` makes."""
    return Path(config.output_dir or f"runs/start-{config.inputs}")
