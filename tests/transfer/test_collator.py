"""Rows become tensors: padding, and columns that are no ids."""

from __future__ import annotations

import torch

from zskd.transfer.collator import TransferCollator, unpadded_rows


def test_collator_pads_to_the_longest_and_keeps_the_logits() -> None:
    batch = TransferCollator(pad_token_id=9)(
        [
            {"input_ids": [2, 5, 3], "token_type_ids": [0, 0, 1], "length": 3, "teacher_logits": [0.5, -1.0]},
            {"input_ids": [2, 3], "token_type_ids": [0, 1], "length": 2, "teacher_logits": [2.0, 0.25]},
        ]
    )
    assert batch.pop("teacher_logits").equal(torch.tensor([[0.5, -1.0], [2.0, 0.25]]))
    assert {value.dtype for value in batch.values()} == {torch.int64}
    assert batch["input_ids"].tolist() == [[2, 5, 3], [2, 3, 9]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 1], [0, 1, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]


def test_left_padding_of_a_tokenizer_that_pads_there() -> None:
    """XLNet reads the last token, so it has to be the text's."""
    rows = [{"input_ids": ids, "token_type_ids": kinds, "teacher_logits": [0.5, 1.0]}
            for ids, kinds in (([5, 6, 7], [0, 1, 2]), ([8], [2]))]  # fmt: skip
    batch = TransferCollator(pad_token_id=9, left=True)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [9, 9, 8]]
    assert batch["token_type_ids"].tolist() == [[0, 1, 2], [0, 0, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert [row["input_ids"].tolist() for row in unpadded_rows(batch)] == [[5, 6, 7], [8]]
    assert [row["token_type_ids"].tolist() for row in unpadded_rows(batch)] == [[0, 1, 2], [2]]
