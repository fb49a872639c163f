"""Padded batches of a transfer set, and its rows back from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

ID_COLUMNS = ("input_ids", "token_type_ids")


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
