"""The transfer set as the student reads it: encoded, cut and in order."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from conftest import prose, word_tokenizer
from datasets import Dataset

from zskd.teacher.classifier import Classifier
from zskd.transfer.rows import encode, encode_parts, transfer_rows


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


def test_what_is_cut_is_counted_and_said(tmp_path: Path, teacher: Classifier, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="zskd")
    labelled = Dataset.from_dict({"text": prose(5), "teacher_logits": [[0.0, 1.0]] * 5})
    encode_parts({"transfer": labelled}, word_tokenizer(prose(5)), 6, tmp_path)
    transfer_rows(teacher, (["fine " * 30, "fine"],), max_length=10)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "student's rows, transfer: 5 of 5 rows were longer than 6 tokens and were cut (--max-length)",
        "transfer rows: 1 of 2 texts were longer than 10 tokens and were cut (--max-length)",
    ]
