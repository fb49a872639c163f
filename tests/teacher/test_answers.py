"""Answers of a callable are kept one by one, and a damaged file is not taken for sound."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import prose

from zskd.errors import RunError
from zskd.teacher.answers import AnswerStore

TEXTS = prose(1_200)
PAIRS = list(zip(TEXTS, prose(1_200, 1), strict=True))


def logits(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)


@pytest.mark.parametrize("texts", [TEXTS, PAIRS], ids=["texts", "pairs"])
def test_what_is_kept_is_found_bit_for_bit_by_any_later_reader(texts: list, tmp_path: Path) -> None:
    path, kept = tmp_path / "new" / "answers.sqlite", logits(len(texts))
    assert AnswerStore(path).find(texts) == [None] * len(texts) and not path.parent.exists()
    AnswerStore(path).keep(texts, kept)
    np.testing.assert_array_equal(np.stack(AnswerStore(path).find(texts[::-1])), kept[::-1])
    assert AnswerStore(path).find(["another", ("a", "pair")]) == [None, None]


def test_a_pair_is_not_its_texts_joined_or_turned(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers.sqlite")
    store.keep([("a", "b"), "ab"], logits(2))
    assert [row is None for row in store.find([("a", "b"), ("b", "a"), ("ab", ""), "ab", "a"])] == [0, 1, 1, 0, 1]


def test_an_answer_is_on_the_disk_when_keep_returns(tmp_path: Path) -> None:
    """The process is killed as soon as it can be."""
    program = (
        "import os, sys, numpy as np; from pathlib import Path; from zskd.teacher.answers import AnswerStore\n"
        "AnswerStore(Path(sys.argv[1])).keep(['a', 'b'], np.ones((2, 3), dtype=np.float32)); os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "answers.sqlite"
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -9
    assert [None if row is None else row.tolist() for row in AnswerStore(path).find(["b", "c"])] == [[1, 1, 1], None]


def test_a_damaged_answer_is_missing_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "answers.sqlite"
    AnswerStore(path).keep(["a", "b"], logits(2))
    with sqlite3.connect(path) as file:
        held = file.execute("SELECT rowid, logits FROM answers").fetchall()
        file.execute("UPDATE answers SET logits = ? WHERE rowid = ?", (held[0][1][:-1] + b"\x7f", held[0][0]))
    with caplog.at_level("WARNING", "zskd"):
        found = AnswerStore(path).find(["a", "b"])
    assert sum(row is None for row in found) == 1 and "1 answers are damaged" in caplog.text


def test_a_file_that_is_no_store_is_named_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 40)
    for use in (lambda store: store.find(["a"]), lambda store: store.keep(["a"], logits(1))):
        with pytest.raises(RunError, match=f"{path}.*remove it"):
            use(AnswerStore(path))


def test_a_place_that_cannot_be_written_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match="--cache-dir"):
        AnswerStore(tmp_path / "file" / "answers.sqlite").keep(["a"], logits(1))


def test_what_was_repeated_is_kept_for_each_run(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    assert AnswerStore(path).repeated("run") == 0
    store = AnswerStore(path)
    for texts in (10, 25):
        store.note_repeated("run", texts)
    assert (AnswerStore(path).repeated("run"), AnswerStore(path).repeated("other")) == (25, 0)
