"""The record of a start: what `zskd pretrain` made it of, beside its weights.

START/config.json, model.safetensors, tokenizer files    a stock model that ``AutoModel`` loads
START/pretraining.json                                   the record
START/sentences.u32                                      32-bit hashes of the sentences that were read, sorted

Starts are packaged with zskd, in ``assets/starts/BACKBONE/INPUTS``, without a tokenizer: teachers that have the
vocabulary of the backbone bring it.

Imports neither torch nor transformers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zskd.config.pretraining import PretrainConfig
from zskd.errors import InputError
from zskd.runs.read import read_part
from zskd.system.files import sha256_file, write_text
from zskd.system.paths import expanded, is_file, is_folder

if TYPE_CHECKING:
    import numpy as np

RECORD = "pretraining.json"
WEIGHTS = "model.safetensors"
SENTENCES = "sentences.u32"
PACKAGED = Path(__file__).parents[1] / "assets" / "starts"
EMPTY_COLUMNS = "empty_columns"  # leading columns of the table that a task fills
_KINDS: dict[str, type] = {
    "inputs": str,
    EMPTY_COLUMNS: int,
    "vocabulary": str,
    "fingerprint": str,
    "made_of": dict,
    "files": dict,
}


@dataclass(frozen=True)
class Start:
    """A start on disk.

    Attributes:
        folder: its files.
        record: content of ``pretraining.json``.
    """

    folder: Path
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """``packaged``, or the name of its folder."""
        return "packaged" if PACKAGED in self.folder.parents else self.folder.name

    @property
    def said(self) -> dict[str, Any]:
        """What the record of a run says of it."""
        kept = ("fingerprint", "made_of", "tokens", "trained_on")
        return {"name": self.name, **{name: self.record.get(name) for name in kept}}

    @property
    def hashes(self) -> np.ndarray | None:
        """Hashes of the sentences that it has read, see `zskd.text.sentence_hashes`; None if it was made without."""
        import numpy as np

        path = self.folder / SENTENCES
        return np.fromfile(path, "<u4") if is_file(path) else None


def open_start(name: str, *, pair: bool, vocabulary: str | None = None) -> Start:
    """The start that ``--start-from`` names: ``packaged``, or a folder.

    Args:
        pair: whether the student compares two texts.
        vocabulary: of the teacher, see `zskd.models.vocabulary.vocabulary_fingerprint`. It chooses among several
            packaged starts; where none has it, the first is taken.

    Raises:
        InputError: the folder holds no start, or a damaged one, or no start is packaged for such a student.
    """
    if name != "packaged":
        return Start(expanded(name), read_start(expanded(name)))
    starts = packaged_starts(pair=pair)
    if not starts:
        raise InputError(f"--start-from packaged: {no_packaged(pair=pair)}; use --start-from none, or make a start")
    return next((start for start in starts if start.record["vocabulary"] == vocabulary), starts[0])


def packaged_starts(*, pair: bool) -> list[Start]:
    """The starts that are packaged for students of two texts, or of one: at most one of each backbone.

    Where none has read single texts, those are named that have read pairs.

    Raises:
        InputError: one of them is damaged.
    """
    kinds = ("two", "both") if pair else ("one", "both", "two")
    backbones = sorted(path for path in PACKAGED.iterdir() if is_folder(path)) if is_folder(PACKAGED) else []
    folders = [next((path / kind for kind in kinds if is_folder(path / kind)), None) for path in backbones]
    try:
        return [Start(folder, read_start(folder)) for folder in folders if folder is not None]
    except InputError as error:
        raise InputError(
            f"--start-from packaged: expected the files that zskd brings, found others ({error}); install zskd again, "
            "or use --start-from none"
        ) from error


def no_packaged(*, pair: bool) -> str:
    """That no start is packaged for students of two texts, or of one."""
    return f"no start is packaged for {'two texts' if pair else 'single texts'}"


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write a start's record, with the checksums of all files beside it."""
    others = sorted(path for path in folder.iterdir() if path.name != RECORD)
    content = {**record, "files": {path.name: sha256_file(path) for path in others}}
    write_text(folder / RECORD, json.dumps(content, indent=2) + "\n")


def read_start(folder: Path, *, flag: str = "--start-from") -> dict[str, Any]:
    """The record of a start, whose files are as they were written.

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
    for name, digest in record["files"].items():
        if not is_file(folder / name) or sha256_file(folder / name) != digest:
            raise InputError(f"{shown}: expected {name} as it was written, found {_found(folder / name)}; make it anew")
    return record


def _found(path: Path) -> str:
    return "another content" if is_file(path) else "no such file"


def start_path(config: PretrainConfig) -> Path:
    """The folder of the start that `zskd pretrain` makes."""
    return Path(config.output_dir or f"runs/start-{config.inputs}")
