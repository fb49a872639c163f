"""The transfer set as the student reads it: encoding, padding, and batches of similar length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import prose, word_tokenizer
from datasets import Dataset

from zskd.training.sampler import LengthGroupedSampler
from zskd.transfer.collator import TransferCollator
from zskd.transfer.rows import encode


def order(sampler: LengthGroupedSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("count", [1, 7, 8, 3_001])
def test_sampler_gives_every_row_once_and_depends_on_seed_and_epoch_alone(count: int) -> None:
    lengths = np.random.default_rng(0).integers(2, 65, size=count)
    sampler = LengthGroupedSampler(lengths, 8, seed=3)
    assert len(sampler) == count
    assert sorted(order(sampler, 0)) == list(range(count))
    torch.manual_seed(1)
    np.random.seed(1)
    assert order(LengthGroupedSampler(lengths, 8, seed=3), 5) == order(sampler, 5)
    if count > 8:
        assert order(sampler, 0) != order(sampler, 1)
        assert order(sampler, 0) != order(LengthGroupedSampler(lengths, 8, seed=4), 0)


def test_sampler_batches_have_similar_lengths_and_the_short_one_is_last() -> None:
    lengths = np.random.default_rng(0).integers(2, 65, size=8 * 64 * 6 + 5)
    found = lengths[order(LengthGroupedSampler(lengths, 8, seed=0), 0)]
    batches = found[:-5].reshape(-1, 8)
    assert np.ptp(batches, axis=1).mean() < 3  # of 63; at random it is about 49
    assert abs(np.corrcoef(np.arange(len(batches)), batches.mean(axis=1))[0, 1]) < 0.15, "long batches at any time"


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


def test_encode_truncates_and_keeps_the_order(tmp_path: Path) -> None:
    texts, logits = prose(5), np.arange(15, dtype=np.float32).reshape(5, 3)
    labelled = Dataset.from_dict({"text": texts, "teacher_logits": logits.tolist()})
    tokenizer = word_tokenizer(texts)
    encoded = encode(labelled, tokenizer, 6, tmp_path / "rows.arrow")
    assert encoded.column_names == ["input_ids", "length", "teacher_logits"]
    assert encoded["input_ids"][:] == tokenizer(texts, truncation=True, max_length=6)["input_ids"]
    assert encoded["length"][:] == [6] * 5
    assert encoded["teacher_logits"][:] == logits.tolist()


def test_encoded_pairs_have_token_types(tmp_path: Path) -> None:
    first, second = prose(4), prose(4, seed=1)
    labelled = Dataset.from_dict({"text": first, "text_b": second, "teacher_logits": [[0.0, 1.0]] * 4})
    tokenizer = word_tokenizer([*first, *second])
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    encoded = encode(labelled, tokenizer, 64, tmp_path / "rows.arrow")
    expected = tokenizer(first, second)
    assert encoded["input_ids"][:] == expected["input_ids"]
    assert encoded["token_type_ids"][:] == expected["token_type_ids"]
    assert {kind for row in encoded["token_type_ids"] for kind in row} == {0, 1}
