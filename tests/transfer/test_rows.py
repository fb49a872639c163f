"""The transfer set as the student reads it: encoded, cut and in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import prose, word_tokenizer
from datasets import Dataset

from zskd.transfer.rows import encode


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
