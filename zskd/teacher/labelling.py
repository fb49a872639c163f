"""Bulk labelling by the teacher, with a cache on disk.

The cache is content-addressed: a shard of up to `SHARD_ROWS` texts is stored under the hash of the teacher's weights,
its tokenizer, precision, maximum length and the shard's ordered texts. Whole shards are the unit, because the last bit
of a logit depends on the batch that a text is in; this way, logits never depend on what was labelled before. Shards
hold raw logits in the teacher's own class order; `label_texts` returns them in the task's order.

A text that a pool holds several times is asked for once: shards are made of the pool's different texts, in their first
order. The answers of such a pool are then written once more, one for each row, so that they too are memory-mapped.

Pooled states are stored in shards and a folder of their own.
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

from zskd.errors import RunError
from zskd.models.batching import ahead
from zskd.models.bulk import Meter
from zskd.models.encoding import Cuts
from zskd.system.arrow import ROWS, arrow_digest, keep_arrow, open_arrow, read_note
from zskd.system.files import write_problem
from zskd.system.precision import check_finite
from zskd.system.processes import gather, on_main
from zskd.system.progress import bar
from zskd.teacher.answers import FOLDER
from zskd.teacher.base import Teacher, Texts
from zskd.text.repeats import distinct_rows
from zskd.text.shaping import text_columns

SHARD_ROWS = 4_096
# Increase it when the content of a shard would change for the same key (batching, order, storage).
FORMAT = 2

_CUT = "zskd_cut"  # note in a shard: number of its rows that were longer than the maximum length

Answer = Callable[[Any, Meter], np.ndarray]  # from prepared texts to an array (rows, width)


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with the teacher's answers.

    Attributes:
        dataset: all rows, with the columns of the input and ``teacher_logits`` (float32, one per class, in the task's
            order), or ``teacher_states`` (float16, one per hidden dimension).
        queries: number of different texts, each of which the teacher is asked for once.
        live: how many of them the teacher answered in this run, over all processes; the rest came from the cache.
        cut: how many of them were longer than the maximum length; None if a callable read them, or if shards in the
            cache do not say, which an earlier version wrote.
    """

    dataset: Dataset
    queries: int
    live: int
    cut: int | None = None

    @property
    def repeated(self) -> int:
        """Number of rows that repeat an earlier one and have its answer."""
        return len(self.dataset) - self.queries


@contextmanager
def _nothing_old_collected() -> Iterator[None]:
    """Keep the garbage collector from scanning older objects inside the block.

    The token id lists of a shard trigger it again and again. Each time it would scan all objects of the libraries, for
    half a second in which all threads wait.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def shard_key(teacher: Teacher, texts: Texts, max_length: int, precision: str, *, states: bool = False) -> str:
    """The key of a shard: hex SHA-256 of everything that decides its logits, or its pooled states."""
    head = [FORMAT, *teacher.cache_key(precision, max_length), *(["states"] if states else []), len(texts)]
    digest = hashlib.sha256(json.dumps(head).encode())
    for row in zip(*texts, strict=True):
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def _texts(pool: Dataset, number: int) -> Texts:
    """The texts of one shard of a pool. If the pool is a file, only these texts are loaded."""
    rows = pool[number * SHARD_ROWS : (number + 1) * SHARD_ROWS]
    return tuple(rows[name] for name in pool.column_names)


def _size(rows: int, number: int) -> int:
    """Number of texts in a shard of a pool of `rows` texts; the last shard may be smaller."""
    return min(SHARD_ROWS, rows - number * SHARD_ROWS)


def missing_shards(paths: list[Path], rows: int, schema: pa.Schema) -> list[int]:
    """Numbers of the shards of a pool of `rows` texts without a file that can be used; equal ones are listed once."""
    first: dict[Path, int] = {}
    for number, path in enumerate(paths):
        first.setdefault(path, number)
    return [number for path, number in first.items() if arrow_digest(path, schema, _size(rows, number)) is None]


def label_texts(
    pool: Dataset, teacher: Teacher, cache: Path, *, max_length: int, precision: str, description: str
) -> LabelledTexts:
    """Add the teacher's logits to a pool of texts (columns ``text`` and, for pairs, ``text_b``).

    The teacher is not asked again for shards in the cache. A shard file that does not match its checksum is rewritten
    (see `zskd.system.checksums`). A text that stands in several rows is asked for once; of a pair, both texts and their
    order count. Missing shards are distributed over the processes; afterwards every process opens all shards. The texts
    of the next shard are tokenized while the teacher answers the current one.

    Returns:
        The pool with a column ``teacher_logits``. It is memory-mapped, unless the teacher's class order differs from
        the task's.

    Raises:
        InputError: some logits are not finite; that shard is not stored.
    """

    def logits(prepared: Any, meter: Meter) -> np.ndarray:
        found = teacher.own_logits(prepared, precision, meter)
        check_finite(found, teacher.name, precision)
        return found

    texts, places = _different(pool)
    folder = cache / FOLDER / teacher.fingerprint[:16]
    paths = [folder / f"{shard_key(teacher, part, max_length, precision)}.arrow" for part in _parts(texts)]
    field = pa.field("teacher_logits", pa.list_(pa.float32(), teacher.num_labels))
    live = _fill(paths, texts, teacher, max_length, logits, field, description)
    files = _for_each_row(paths, places, field)
    column = concatenate_datasets([_in_task_order(teacher, open_arrow(path), field) for path in files])
    return LabelledTexts(concatenate_datasets([pool, column], axis=1), len(texts), live, _cut_in(paths))


def label_states(
    pool: Dataset, teacher: Teacher, cache: Path, *, max_length: int, precision: str, description: str
) -> LabelledTexts:
    """Add the teacher's pooled states to a pool of texts; see `label_texts`. They are cached in separate shards.

    Returns:
        The pool with a column ``teacher_states`` (float16, one per hidden dimension), on disk.

    Raises:
        InputError: the teacher has no states, or some exceed the range of float16; that shard is not stored.
    """
    model = teacher.require_weights("states")
    texts, places = _different(pool)
    folder = cache / "states" / teacher.fingerprint[:16]
    paths = [folder / f"{shard_key(teacher, part, max_length, precision, states=True)}.arrow" for part in _parts(texts)]
    field = pa.field("teacher_states", pa.list_(pa.float16(), model.model.config.hidden_size))

    def states(prepared: Any, meter: Meter) -> np.ndarray:
        return model.own_states(prepared, precision, meter)

    live = _fill(paths, texts, teacher, max_length, states, field, description)
    column = concatenate_datasets([open_arrow(path) for path in _for_each_row(paths, places, field)])
    return LabelledTexts(concatenate_datasets([pool, column], axis=1), len(texts), live, _cut_in(paths))


def _different(pool: Dataset) -> tuple[Dataset, np.ndarray | None]:
    """The different texts of a pool, in their first order, and the place of each row's among them.

    The places are None if no row repeats another; the texts are then the pool's own.
    """
    texts = pool.select_columns(text_columns(pool))
    found = distinct_rows(texts)
    return (texts, None) if found is None else (texts.select(found[0]), found[1])


def _for_each_row(paths: list[Path], places: np.ndarray | None, field: pa.Field) -> list[Path]:
    """Files with the answers of all rows: the shards, or one file if there are rows that repeat others.

    Args:
        places: see `_different`.
    """
    if places is None:
        return paths
    digest = hashlib.sha256(json.dumps([path.stem for path in paths]).encode())
    digest.update(places.astype("<i8").tobytes())
    path, schema = paths[0].with_name(f"{digest.hexdigest()}.arrow"), pa.schema([field])

    def rows() -> Iterator[pa.RecordBatch]:
        answers = concatenate_datasets([open_arrow(shard) for shard in paths]).with_format("arrow")
        for start in range(0, len(places), ROWS):
            column = answers[places[start : start + ROWS]][field.name].combine_chunks()
            yield pa.record_batch([column], schema=schema)

    def write() -> None:
        if arrow_digest(path, schema, len(places)) is None:
            _check_writable(path.parent)
            keep_arrow(path, rows(), schema)

    on_main(write)
    return [path]


def _check_writable(folder: Path) -> None:
    """Raise `RunError` if answers could not be kept in a folder."""
    if problem := write_problem(folder):
        raise RunError(f"{folder}: the teacher's answers cannot be kept there: {problem}; name another --cache-dir")


def _parts(texts: Dataset) -> Iterator[Texts]:
    """The texts of each shard, in order."""
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
    """Write the missing shards. Returns the number of texts that the teacher answered, over all processes."""
    schema = pa.schema([field])
    state = PartialState()
    # Only one process looks for missing shards: with several, one could write before another has looked.
    own = on_main(lambda: missing_shards(paths, len(texts), schema))[state.process_index :: state.num_processes]
    if own:  # before the teacher is asked for what could not be kept
        _check_writable(paths[0].parent)
    coming = ((paths[number], teacher.prepare(_texts(texts, number), max_length)) for number in own)
    live = 0
    to_ask = sum(_size(len(texts), number) for number in own)
    with _nothing_old_collected(), bar(description, to_ask, "text") as progress:
        meter = Meter(progress)
        for path, prepared in ahead(coming):
            before = teacher.asked
            found = answer(prepared, meter)
            array = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), found.shape[1])
            cuts = Cuts(max_length)
            cuts.add(prepared, len(found))
            noted = schema if cuts.cut is None else schema.with_metadata({_CUT: str(cuts.cut)})
            keep_arrow(path, [pa.record_batch([array], schema=noted)], noted)
            live += len(found) if before is None or teacher.asked is None else teacher.asked - before
    # Every process waits here for the others, so that all shards have been written.
    return sum(gather(live))


def _cut_in(paths: list[Path]) -> int | None:
    """Number of rows that were cut in all shards; None if one of them does not say."""
    noted = [read_note(path, _CUT) for path in paths]
    return None if None in noted else sum(int(note) for note in noted if note is not None)


def _in_task_order(teacher: Teacher, shard: Dataset, field: pa.Field) -> Dataset:
    """A shard's logits in the task's class order: memory-mapped if it is the teacher's own order, else in memory."""
    if teacher.order == tuple(range(teacher.num_labels)):
        return shard
    stored = shard.data.column("teacher_logits").combine_chunks().flatten().to_numpy().reshape(len(shard), -1)
    flat = pa.array(teacher.in_task_order(stored).ravel())
    return Dataset(pa.table([pa.FixedSizeListArray.from_arrays(flat, teacher.num_labels)], schema=pa.schema([field])))
