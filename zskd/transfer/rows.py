"""The transfer set as token ids on disk, ready for training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.encoding import Cuts, encode_texts, tell_cut
from zskd.models.tokenizers import gives_segments
from zskd.system.arrow import ROWS, open_arrow, write_arrow
from zskd.system.processes import on_main
from zskd.teacher.base import Teacher
from zskd.text.shaping import text_columns
from zskd.transfer.collator import ID_COLUMNS


def encode(
    labelled: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, path: Path, cuts: Cuts | None = None
) -> Dataset:
    """Tokenize labelled texts into an Arrow file at `path`.

    Args:
        labelled: columns ``text``, for pairs ``text_b``, ``family`` and ``teacher_logits``; further columns of numbers,
            such as ``gold_label``, are kept.
        max_length: tokens.
        cuts: counts the rows that are cut.

    Returns:
        Columns ``input_ids``, ``token_type_ids`` (pairs, and single texts whose segments are not all 0), ``length``
        (tokens), ``teacher_logits`` and the further ones.
    """
    columns = text_columns(labelled)
    num_labels = len(labelled[0]["teacher_logits"])
    more = [name for name in labelled.column_names if name not in (*columns, "family", "teacher_logits")]
    names = ID_COLUMNS[: 2 if gives_segments(tokenizer, len(columns)) else 1]
    schema = pa.schema(
        [(name, pa.list_(pa.int32())) for name in names]
        + [("length", pa.int32()), ("teacher_logits", pa.list_(pa.float32(), num_labels))]
        + [(name, labelled.features.arrow_schema.field(name).type) for name in more]
    )

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(labelled), ROWS):
            rows = labelled[start : start + ROWS]
            encoded = encode_texts(tokenizer, tuple(rows[name] for name in columns), max_length)
            if cuts is not None:
                cuts.add(encoded, len(encoded["input_ids"]))
            logits = np.asarray(rows["teacher_logits"], dtype=np.float32)
            arrays = [pa.array(encoded[name], schema.field(name).type) for name in names]
            arrays.append(pa.array([len(ids) for ids in encoded["input_ids"]], pa.int32()))
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), num_labels))
            arrays += [pa.array(rows[name], schema.field(name).type) for name in more]
            yield pa.record_batch(arrays, schema=schema)

    write_arrow(path, batches(), schema)
    return open_arrow(path)


def encode_parts(
    parts: dict[str, Dataset], tokenizer: PreTrainedTokenizerBase, max_length: int, folder: Path
) -> dict[str, Dataset]:
    """`encode` for several labelled sets, each to a file in `folder`; the main process writes, all processes open."""
    paths = {name: folder / f"{name}.arrow" for name in parts}

    def write() -> None:
        for name, path in paths.items():
            cuts = Cuts(max_length)
            encode(parts[name], tokenizer, max_length, path, cuts)
            cuts.tell(f"student's rows, {name}", "rows")

    on_main(write)
    return {name: open_arrow(path) for name, path in paths.items()}


def transfer_rows(
    teacher: Teacher,
    texts: tuple[list[str], ...],
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_length: int = 128,
) -> Dataset:
    """Texts with a teacher's logits as rows for `zskd.ZeroShotTrainer`, in memory.

    Args:
        teacher: asked for every text.
        texts: one list of texts, or two of equal length for pairs.
        tokenizer: the student's; default: the teacher's.
        max_length: tokens of an input, for teacher and student alike; longer ones are cut, and the log says how many.

    Returns:
        Columns ``input_ids``, ``token_type_ids`` (pairs, and single texts whose segments are not all 0), ``length``
        (tokens) and ``teacher_logits``.

    Raises:
        InputError: no tokenizer is given and a callable teacher has none, or the teacher cannot read as many tokens.

    Example:
        `teacher` is a loaded teacher of two classes.

        >>> rows = transfer_rows(teacher, (["a fine film", "a dull film"],), max_length=32)
        >>> rows.column_names, len(rows[0]["teacher_logits"])
        (['input_ids', 'length', 'teacher_logits'], 2)
    """
    tokenizer = tokenizer or teacher.tokenizer
    if tokenizer is None:
        raise InputError(f"tokenizer: the callable teacher {teacher.name} has none; pass the student's")
    encoded = encode_texts(tokenizer, texts, max_length)
    tell_cut("transfer rows", encoded.cut, len(texts[0]), max_length, "texts")
    names = ID_COLUMNS[: 2 if gives_segments(tokenizer, len(texts)) else 1]
    columns = {name: encoded[name] for name in names}
    columns["length"] = [len(ids) for ids in encoded["input_ids"]]
    columns["teacher_logits"] = teacher.logits(texts, max_length=max_length).tolist()
    return Dataset.from_dict(columns)
