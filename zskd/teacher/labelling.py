"""Bulk teacher inference with a cache on disk.

The cache is content-addressed: a shard of up to `SHARD_ROWS` texts is stored under the hash of the teacher's
weights, its tokenizer, precision, maximum length and the shard's ordered texts. The shard is the unit because
the same text alone and in another batch differs in the last bit; with it, logits never depend on what else
was labelled before. Raw logits are stored, in the teacher's own class order; what is handed out is in the task's.

Pooled states have shards of their own, in a folder of their own.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from accelerate import PartialState
from datasets import Dataset, concatenate_datasets

from zskd.models.batching import ahead
from zskd.models.bulk import Meter
from zskd.system.arrow import is_sound, open_arrow, write_arrow
from zskd.system.precision import check_finite
from zskd.system.processes import gather, on_main
from zskd.system.progress import bar
from zskd.teacher.base import Teacher, Texts
from zskd.text.shaping import text_columns

SHARD_ROWS = 4_096
# Raise it when shard contents would come out differently for the same key (batching, order, storage).
FORMAT = 2

Answer = Callable[[Any, Meter], np.ndarray]  # prepared texts to (rows, width)


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with what the teacher answered.

    Attributes:
        dataset: the columns of the input and ``teacher_logits`` (float32, one per class, in the task's order), or
            ``teacher_states`` (float16, one per hidden dimension).
        queries: number of texts whose answers are used.
        live: how many of them the teacher was asked for now, by all processes; the others came from the cache.
    """

    dataset: Dataset
    queries: int
    live: int


@contextmanager
def _nothing_old_collected() -> Iterator[None]:
    """Lets the garbage collector look only at objects that are made in the block.

    The lists of a shard's token ids set it off again and again, and each time it would look through all that the
    libraries hold, for half a second in which no thread gets on.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def shard_key(teacher: Teacher, texts: Texts, max_length: int, precision: str, *, states: bool = False) -> str:
    """Hex SHA-256 of everything that decides a shard's logits, or its pooled states."""
    head = [FORMAT, *teacher.cache_key(precision, max_length), *(["states"] if states else []), len(texts)]
    digest = hashlib.sha256(json.dumps(head).encode())
    for row in zip(*texts, strict=True):
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def _texts(pool: Dataset, number: int) -> Texts:
    """The texts of a pool's shard; of a pool that lies in a file nothing else is held in memory."""
    rows = pool[number * SHARD_ROWS : (number + 1) * SHARD_ROWS]
    return tuple(rows[name] for name in pool.column_names)


def _size(rows: int, number: int) -> int:
    """Texts in a shard of a pool of `rows` texts; the last shard may have fewer than the others."""
    return min(SHARD_ROWS, rows - number * SHARD_ROWS)


def missing_shards(paths: list[Path], rows: int) -> list[int]:
    """Numbers of the shards of a pool of `rows` texts that have no sound file; of equal shards the first alone."""
    first: dict[Path, int] = {}
    for number, path in enumerate(paths):
        first.setdefault(path, number)
    return [number for path, number in first.items() if not is_sound(path, _size(rows, number))]


def label_texts(
    pool: Dataset, teacher: Teacher, cache: Path, *, max_length: int, precision: str, description: str
) -> LabelledTexts:
    """Add the teacher's logits to a pool of texts (columns ``text`` and, for pairs, ``text_b``).

    Shards that the cache holds are not asked again. A shard file that does not open or has another number of
    rows is written anew. The missing ones are dealt out to the processes; each asks for its own and opens those of all.
    The next shard's texts become token ids while the teacher answers for this one.

    Returns:
        The pool with a column ``teacher_logits``, on disk unless the teacher has its classes in another order.

    Raises:
        InputError: logits that are no finite numbers; they are not kept.
    """

    def logits(prepared: Any, meter: Meter) -> np.ndarray:
        found = teacher.own_logits(prepared, precision, meter)
        check_finite(found, teacher.name, precision)
        return found

    texts = pool.select_columns(text_columns(pool))
    folder = cache / "labels" / teacher.fingerprint[:16]
    paths = [folder / f"{shard_key(teacher, part, max_length, precision)}.arrow" for part in _parts(texts)]
    field = pa.field("teacher_logits", pa.list_(pa.float32(), teacher.num_labels))
    live = _fill(paths, texts, teacher, max_length, logits, field, description)
    column = concatenate_datasets([_in_task_order(teacher, open_arrow(path), field) for path in paths])
    return LabelledTexts(concatenate_datasets([pool, column], axis=1), queries=len(pool), live=live)


def label_states(
    pool: Dataset, teacher: Teacher, cache: Path, *, max_length: int, precision: str, description: str
) -> LabelledTexts:
    """Add the teacher's pooled states to a pool of texts, from shards of their own; see `label_texts`.

    Returns:
        The pool with a column ``teacher_states`` (float16, one per hidden dimension), on disk.

    Raises:
        InputError: the teacher shows no states, or some that float16 does not hold; they are not kept.
    """
    model = teacher.require_weights("states")
    texts = pool.select_columns(text_columns(pool))
    folder = cache / "states" / teacher.fingerprint[:16]
    paths = [folder / f"{shard_key(teacher, part, max_length, precision, states=True)}.arrow" for part in _parts(texts)]
    field = pa.field("teacher_states", pa.list_(pa.float16(), model.model.config.hidden_size))

    def states(prepared: Any, meter: Meter) -> np.ndarray:
        return model.own_states(prepared, precision, meter)

    live = _fill(paths, texts, teacher, max_length, states, field, description)
    column = concatenate_datasets([open_arrow(path) for path in paths])
    return LabelledTexts(concatenate_datasets([pool, column], axis=1), queries=len(pool), live=live)


def _parts(texts: Dataset) -> Iterator[Texts]:
    """The texts of all shards, one after another."""
    return (_texts(texts, number) for number in range(math.ceil(len(texts) / SHARD_ROWS)))


def _fill(
    paths: list[Path],
    texts: Dataset,
    teacher: Teacher,
    max_length: int,
    answer: Answer,
    field: pa.Field,
    description: str,
) -> int:
    """Write the shards that are missing; how many texts were asked for, over all processes."""
    schema = pa.schema([field])
    state = PartialState()
    # One process looks, so that all agree on what is missing: the first to look may write before the last has looked.
    own = on_main(lambda: missing_shards(paths, len(texts)))[state.process_index :: state.num_processes]
    coming = ((paths[number], teacher.prepare(_texts(texts, number), max_length)) for number in own)
    live = 0
    to_ask = sum(_size(len(texts), number) for number in own)
    with _nothing_old_collected(), bar(description, to_ask, "text") as progress:
        meter = Meter(progress)
        for path, prepared in ahead(coming):
            found = answer(prepared, meter)
            array = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), found.shape[1])
            write_arrow(path, [pa.record_batch([array], schema=schema)], schema)
            live += len(found)
    # Every process waits here for all others, so that after it every shard is written.
    return sum(gather(live))


def _in_task_order(teacher: Teacher, shard: Dataset, field: pa.Field) -> Dataset:
    """A shard's logits in the task's class order: as they lie on disk where it is the teacher's own, else in memory."""
    if teacher.order == tuple(range(teacher.num_labels)):
        return shard
    stored = shard.data.column("teacher_logits").combine_chunks().flatten().to_numpy().reshape(len(shard), -1)
    flat = pa.array(teacher.in_task_order(stored).ravel())
    return Dataset(pa.table([pa.FixedSizeListArray.from_arrays(flat, teacher.num_labels)], schema=pa.schema([field])))
