"""Padded batches from rows of a transfer set, and rows from a padded batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

ID_COLUMNS = ("input_ids", "token_type_ids")
VIEW = "view_"  # prefix of the columns of a second view of a row
_NOT_IN_BATCHES = ("length", "attention_mask")


@dataclass(frozen=True)
class TransferCollator:
    """Pads token ids to the longest of a batch.

    Gives ``input_ids``, ``attention_mask`` and, for pairs, ``token_type_ids`` as int64 ``(batch, tokens)``, and
    ``teacher_logits`` as float32 ``(batch, num_labels)``. Other columns of numbers are kept: those called ``view_*``
    are padded like token ids (``view_input_ids`` with an attention mask of its own), the others are stacked, whole
    numbers as int64, others as float32. The student is shown none of them (`zskd.training.forward`). ``length`` is
    for the sampler and left out.

    Args:
        pad_token_id: of the student's tokenizer; `of` reads it from there.
        left: pad on the left, as XLNet does, which reads the last token.

    Example:
        >>> rows = [{"input_ids": ids, "teacher_logits": [0.5, 1.0]} for ids in ([2, 9, 3], [2, 3])]
        >>> batch = TransferCollator(pad_token_id=0)(rows)
        >>> batch["input_ids"].tolist(), batch["attention_mask"].tolist()
        ([[2, 9, 3], [2, 3, 0]], [[1, 1, 1], [1, 1, 0]])
    """

    pad_token_id: int
    left: bool = False

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase | None) -> TransferCollator:
        """With a tokenizer's padding token, or 0 where there is none: what is padded is masked."""
        pad = getattr(tokenizer, "pad_token_id", None)
        return cls(0 if pad is None else pad, left=getattr(tokenizer, "padding_side", "right") == "left")

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad and stack the rows of one batch.

        Raises:
            ValueError: a column holds lists of several lengths and is not called ``view_*``.
        """
        tensors = self._padded([{name: row[name] for name in ID_COLUMNS if name in row} for row in rows])
        if f"{VIEW}input_ids" in rows[0]:
            views = [{name: row[VIEW + name] for name in ID_COLUMNS if VIEW + name in row} for row in rows]
            tensors |= {VIEW + name: tensor for name, tensor in self._padded(views).items()}
        for name in rows[0]:
            if name not in ID_COLUMNS and name not in tensors and name not in _NOT_IN_BATCHES:
                tensors |= _stacked(name, [row[name] for row in rows])
        return tensors

    def _padded(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Token ids and segments of one view, with their attention mask."""
        longest = max(len(row["input_ids"]) for row in rows)
        batch = {
            name: np.full((len(rows), longest), self.pad_token_id if name == "input_ids" else 0, dtype=np.int64)
            for name in rows[0]
        }
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for i, row in enumerate(rows):
            length = len(row["input_ids"])
            place = slice(longest - length, longest) if self.left else slice(length)
            mask[i, place] = 1
            for name, target in batch.items():
                target[i, place] = row[name]
        tensors = {name: torch.from_numpy(value) for name, value in batch.items()}
        tensors["attention_mask"] = torch.from_numpy(mask)
        return tensors


def _stacked(name: str, values: list[Any]) -> dict[str, torch.Tensor]:
    """A column as a tensor by its name; empty if the values are not numbers."""
    try:
        array = np.asarray(values, dtype=np.float32 if name == "teacher_logits" else None)
    except ValueError as error:
        raise ValueError(
            f"column {name}: expected as many numbers in every row, found {error}; call it {VIEW}... to have it padded"
        ) from error
    if array.dtype.kind not in "biuf":
        return {}
    return {name: torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else np.int64))}


def unpadded_rows(inputs: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
    """The rows of a `TransferCollator`'s batch without padding: int32 ids and float32 logits, as NumPy arrays."""
    masks = inputs["attention_mask"].cpu().numpy().astype(bool)
    arrays = {name: inputs[name].cpu().numpy().astype(np.int32) for name in ID_COLUMNS if name in inputs}
    logits = inputs["teacher_logits"].float().cpu().numpy()
    return [
        {**{name: array[i, mask] for name, array in arrays.items()}, "teacher_logits": logits[i]}
        for i, mask in enumerate(masks)
    ]
