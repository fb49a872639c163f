"""The transfer set as the student reads it: token ids on disk, padded per batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.models.encoding import encode_texts
from zskd.system.arrow import ROWS, open_arrow, write_arrow
from zskd.system.processes import on_main
from zskd.teacher.blackbox import BlackBox
from zskd.teacher.classifier import Classifier
from zskd.teacher.labelling import predict_logits
from zskd.text.shaping import text_columns

ID_COLUMNS = ("input_ids", "token_type_ids")


def encode(
    labelled: Dataset, tokenizer: PreTrainedTokenizerBase, order: tuple[int, ...], max_length: int, path: Path
) -> Dataset:
    """Tokenize labelled texts into an Arrow file at `path`.

    Args:
        labelled: columns ``text``, for pairs ``text_b``, and ``teacher_logits`` in the teacher's class order; may have
            ``gold_label``.
        order: for each task label, the teacher's column; the written logits are in the task's order.
        max_length: tokens.

    Returns:
        Columns ``input_ids``, ``token_type_ids`` (pairs only), ``length`` (tokens), ``teacher_logits`` and, where
        `labelled` has it, ``gold_label``.
    """
    columns = text_columns(labelled)
    names = ID_COLUMNS[: 2 if len(columns) == 2 and "token_type_ids" in tokenizer.model_input_names else 1]
    schema = pa.schema(
        [(name, pa.list_(pa.int32())) for name in names]
        + [("length", pa.int32()), ("teacher_logits", pa.list_(pa.float32(), len(order)))]
        + ([("gold_label", pa.int64())] if "gold_label" in labelled.column_names else [])
    )

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(labelled), ROWS):
            rows = labelled[start : start + ROWS]
            encoded = encode_texts(tokenizer, tuple(rows[name] for name in columns), max_length)
            logits = np.asarray(rows["teacher_logits"], dtype=np.float32)[:, list(order)]
            arrays = [pa.array(encoded[name], schema.field(name).type) for name in names]
            arrays.append(pa.array([len(ids) for ids in encoded["input_ids"]], pa.int32()))
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), len(order)))
            if "gold_label" in schema.names:
                arrays.append(pa.array(rows["gold_label"], pa.int64()))
            yield pa.record_batch(arrays, schema=schema)

    write_arrow(path, batches(), schema)
    return open_arrow(path)


def encode_parts(
    parts: dict[str, Dataset],
    tokenizer: PreTrainedTokenizerBase,
    order: tuple[int, ...],
    max_length: int,
    folder: Path,
) -> dict[str, Dataset]:
    """`encode` for several labelled sets, each to a file in `folder`; the main process writes, all open."""
    paths = {name: folder / f"{name}.arrow" for name in parts}

    def write() -> None:
        for name, path in paths.items():
            encode(parts[name], tokenizer, order, max_length, path)

    on_main(write)
    return {name: open_arrow(path) for name, path in paths.items()}


def transfer_rows(
    teacher: Classifier | BlackBox,
    texts: tuple[list[str], ...],
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_length: int = 128,
) -> Dataset:
    """Texts with a teacher's logits as rows for `zskd.ZeroShotTrainer`, in memory.

    Args:
        texts: one list of texts, or two for pairs.
        tokenizer: the student's; default: the teacher's.

    Returns:
        Columns ``input_ids``, ``token_type_ids`` (pairs only), ``length`` (tokens) and ``teacher_logits``.
    """
    if tokenizer is None:
        assert isinstance(teacher, Classifier), "a black box has no tokenizer; name the student's"
        tokenizer = teacher.tokenizer
    encoded = encode_texts(tokenizer, texts, max_length)
    names = ID_COLUMNS[: 2 if len(texts) == 2 and "token_type_ids" in encoded else 1]
    logits = predict_logits(teacher, texts, max_length=max_length, precision="fp32")
    columns = {name: encoded[name] for name in names}
    columns["length"] = [len(ids) for ids in encoded["input_ids"]]
    columns["teacher_logits"] = logits[:, list(teacher.order)].tolist()
    return Dataset.from_dict(columns)


@dataclass(frozen=True)
class TransferCollator:
    """Pads token ids to the longest of a batch.

    Gives ``input_ids``, ``attention_mask`` and, for pairs, ``token_type_ids`` as int64 ``(batch, tokens)``, and
    ``teacher_logits`` as float32 ``(batch, num_labels)``; with a column ``gold_label`` also that, int64 ``(batch,)``.
    """

    pad_token_id: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase | None) -> TransferCollator:
        """With a tokenizer's padding token, or 0 where there is none: what is padded is masked."""
        pad = getattr(tokenizer, "pad_token_id", None)
        return cls(pad_token_id=0 if pad is None else pad)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad and stack the rows of one batch."""
        longest = max(len(row["input_ids"]) for row in rows)
        batch = {
            name: np.full((len(rows), longest), self.pad_token_id if name == "input_ids" else 0, dtype=np.int64)
            for name in ID_COLUMNS
            if name in rows[0]
        }
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for i, row in enumerate(rows):
            length = len(row["input_ids"])
            mask[i, :length] = 1
            for name, target in batch.items():
                target[i, :length] = row[name]
        tensors = {name: torch.from_numpy(value) for name, value in batch.items()}
        tensors["attention_mask"] = torch.from_numpy(mask)
        tensors["teacher_logits"] = torch.from_numpy(
            np.asarray([row["teacher_logits"] for row in rows], dtype=np.float32)
        )
        if "gold_label" in rows[0]:
            tensors["gold_label"] = torch.tensor([row["gold_label"] for row in rows], dtype=torch.int64)
        return tensors


def unpadded_rows(inputs: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
    """The rows of a `TransferCollator`'s batch without padding: int32 ids and float32 logits, as NumPy arrays."""
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    arrays = {name: inputs[name].cpu().numpy().astype(np.int32) for name in ID_COLUMNS if name in inputs}
    logits = inputs["teacher_logits"].float().cpu().numpy()
    return [
        {**{name: array[i, :length] for name, array in arrays.items()}, "teacher_logits": logits[i]}
        for i, length in enumerate(lengths)
    ]


class LengthGroupedSampler(Sampler[int]):
    """Row indices in an order whose consecutive `batch_size` rows have similar length.

    The order is a function of seed and epoch alone, so that a resumed run sees the rows the uninterrupted one
    would have seen. (Trainer's own grouped sampler draws from the global generator.)

    Args:
        lengths: ``(rows,)``, tokens of each row.
        batch_size: rows per batch, over all processes.
    """

    GROUP = 64  # batches that are sorted together

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's data loader before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths))
        size = self.GROUP * self.batch_size
        groups = (order[start : start + size] for start in range(0, len(order), size))
        order = np.concatenate([group[np.argsort(self.lengths[group], kind="stable")] for group in groups])
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        # A short batch in the middle would shift all that follow, so it stays last.
        last = [batches.pop()] if len(batches[-1]) < self.batch_size else []
        for index in rng.permutation(len(batches)):
            yield from batches[index].tolist()
        for batch in last:
            yield from batch.tolist()
