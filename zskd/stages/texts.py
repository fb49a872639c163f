"""Text that a caller hands over: a list, pairs or a data set, made part of a run's corpus or of its inputs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from datasets import Dataset

from zskd.config.distillation import DistillConfig
from zskd.errors import InputError
from zskd.runs.wording import GIVEN
from zskd.system.checksums import keep_content
from zskd.system.plain_text import Repairs
from zskd.text.shaping import Pools, split_documents
from zskd.text.sources import Source
from zskd.transfer.transfer_set import MIN_ROWS

logger = logging.getLogger(__name__)

SHOWN = 80  # characters of a row in a message
MIN_TEXTS = 100  # that are handed over as a list
HELD_OUT = 0.2  # share of pairs that are handed over; half of it chooses the checkpoint, half reports agreement
FOLDER = "texts"  # of the cache

Inputs: TypeAlias = Sequence[str] | Sequence[tuple[str, str]] | Dataset


def text_columns(texts: Inputs, two: bool | None) -> tuple[list[str], ...]:
    """One or two lists of texts, from what a caller has; see `Repairs` for what is replaced in them.

    Args:
        two: whether the task reads two texts; None where only the texts say so.

    Raises:
        InputError: fewer than `MIN_TEXTS`, something that is no text, or pairs for a task with one text.
    """
    found = _of_dataset(texts) if isinstance(texts, Dataset) else _of_rows(texts)
    for column in found:
        wrong = next((i for i, text in enumerate(column) if not isinstance(text, str) or not text.strip()), None)
        if wrong is not None:
            found_there = repr(column[wrong])[:SHOWN]
            raise InputError(f"texts, row {wrong}: expected text, found {found_there}; leave such rows out")
    repairs = Repairs()
    found = tuple([repairs.repair(text, f"texts, row {i}") for i, text in enumerate(column)] for column in found)
    repairs.say()
    if len(found[0]) < MIN_TEXTS:
        raise InputError(f"texts: expected at least {MIN_TEXTS}, found {len(found[0])}; add text, or give a corpus")
    if two is False and len(found) == 2:
        raise InputError("texts: expected one text a row, found pairs; the task reads one text")
    return found


def _of_dataset(texts: Dataset) -> tuple[list[Any], ...]:
    names = [name for name in ("text", "text_b") if name in texts.column_names]
    if "text" not in names:
        raise InputError(
            f"texts: expected a column `text`, for pairs also `text_b`, found {', '.join(texts.column_names)}; "
            "rename them with `rename_column`"
        )
    return tuple(list(texts[name][:]) for name in names)


def _of_rows(texts: Any) -> tuple[list[Any], ...]:
    expected = "texts: expected a list of texts, a list of pairs or a datasets.Dataset"
    if isinstance(texts, str):
        raise InputError(f"{expected}, found one text; give files as `corpus`")
    if not isinstance(texts, Iterable) or isinstance(texts, Mapping):
        hint = "; choose a split of it" if isinstance(texts, Mapping) else ""
        raise InputError(f"{expected}, found a {type(texts).__name__}{hint}")
    rows = list(texts)
    pairs = bool(rows) and isinstance(rows[0], list | tuple)
    for number, row in enumerate(rows):
        if pairs != isinstance(row, list | tuple) or (pairs and len(row) != 2):
            kind = "a pair, as in the row before" if pairs and number else "a text or a pair of texts"
            raise InputError(f"texts, row {number}: expected {kind}, found {str(row)[:SHOWN]!r}")
    return tuple(list(column) for column in zip(*rows, strict=True)) if pairs else (rows,)


def keep_texts(columns: tuple[list[str], ...], cache: Path) -> Path:
    """The texts as a file of the cache, which a run's record can name and a resumed run finds again."""
    names = ("text", "text_b")
    lines = [json.dumps(dict(zip(names, row, strict=False))) for row in zip(*columns, strict=True)]
    content = "\n".join(lines) + "\n"
    path = cache / FOLDER / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.jsonl"
    keep_content(path, content)
    return path


def check_kept(sources: list[Source], cache: Path) -> None:
    """Hold texts that an earlier call has kept against their name, as ``--resume`` finds them.

    Raises:
        InputError: they are no longer what was handed over.
    """
    for source in sources:
        path = Path(source.name)
        if path.parent.resolve() == (cache / FOLDER).resolve() and not source.identity.startswith(path.stem):
            raise InputError(
                f"--corpus {path}: expected the texts that were handed over, found a file that was changed or damaged "
                "since then; hand them over again (zskd.distill with texts=...), which writes it anew"
            )


def with_pairs(config: DistillConfig, columns: tuple[list[str], ...], given: str | None) -> tuple[DistillConfig, Pools]:
    """Pairs as they are, in place of shaped ones: those held out are chosen by a hash of the first text.

    Raises:
        InputError: perturbation was asked for, or too few are left.
    """
    if given not in (None, "none"):
        raise InputError(
            f"perturb {given}: pairs that are handed over are used as they are; leave it out, or give a corpus"
        )
    distinct = list(dict.fromkeys(zip(*columns, strict=True)))
    documents = np.array(
        [int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest(), "little") for one, _ in distinct],
        dtype=np.uint64,
    )
    parts = split_documents(documents, HELD_OUT)
    sets = {
        name: Dataset.from_dict(
            {
                "text": [one for (one, _), at in zip(distinct, parts, strict=True) if at == number],
                "text_b": [other for (_, other), at in zip(distinct, parts, strict=True) if at == number],
                "family": [GIVEN] * int((parts == number).sum()),
            }
        )
        for number, name in enumerate(("transfer", "select", "report"))
    }
    if len(sets["transfer"]) < MIN_ROWS or not len(sets["select"]) or not len(sets["report"]):
        raise InputError(f"texts: expected more different pairs, found {len(distinct)}; {MIN_ROWS} have to be left")
    logger.info(
        "texts: %d pairs, %d of them repeated; %d to learn from, held out %d to choose the checkpoint and %d to report",
        len(columns[0]),
        len(columns[0]) - len(distinct),
        *(len(sets[name]) for name in ("transfer", "select", "report")),
    )
    fingerprint = hashlib.sha256(json.dumps(distinct).encode()).hexdigest()
    return replace(config, perturb="none", pool_size=len(sets["transfer"])), Pools(fingerprint=fingerprint, **sets)
