"""Hashes tell what was read, whatever its case and spacing, and nothing else."""

from __future__ import annotations

import numpy as np
from conftest import prose

from zskd.text.sentence_hashes import HASH, rows_seen, sentence_hashes


def test_sentences_are_known_again_and_others_are_not() -> None:
    read = prose(400)
    hashes = sentence_hashes(read)
    assert hashes.dtype == HASH and np.all(np.diff(hashes.astype(np.int64)) > 0)
    rows = [read[3].upper(), f"Nobody wrote this. {read[7]}", f"  {read[9]} ", "Nobody wrote that either.", ""]
    assert rows_seen((rows,), hashes) == 3
    assert rows_seen((rows, ["", "", "", read[0], "no"]), hashes) == 4, "either text of a row counts"
    assert rows_seen((rows,), sentence_hashes([])) == 0


def test_texts_that_are_no_valid_unicode_are_hashed() -> None:
    assert len(sentence_hashes(["\ud800", "a", "A"])) == 2
