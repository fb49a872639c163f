"""Text that is handed over: lists, pairs, data sets, and what is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from labelled_rows import prose

from zskd.config.distillation import DistillConfig
from zskd.errors import InputError
from zskd.stages.texts import check_kept, keep_texts, text_columns, with_pairs
from zskd.text.sources import find_sources

TEXTS = prose(120)
PAIRS = list(zip(TEXTS, prose(120, seed=1), strict=True))


@pytest.mark.parametrize(
    "texts",
    [TEXTS, tuple(TEXTS), (text for text in TEXTS), Dataset.from_dict({"text": TEXTS, "other": [0] * 120})],
    ids=["list", "tuple", "generator", "data set"],
)
def test_one_text_a_row(texts: Any) -> None:
    assert text_columns(texts, two=None) == (TEXTS,)


@pytest.mark.parametrize(
    "texts",
    [
        PAIRS,
        [list(pair) for pair in PAIRS],
        Dataset.from_dict({"text": [a for a, _ in PAIRS], "text_b": [b for _, b in PAIRS]}),
    ],
    ids=["tuples", "lists", "data set"],
)
def test_two_texts_a_row(texts: Any) -> None:
    assert text_columns(texts, two=True) == ([one for one, _ in PAIRS], [other for _, other in PAIRS])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (TEXTS[:99], "texts: expected at least 100, found 99; add text, or give a corpus"),
        ([], "texts: expected at least 100, found 0"),
        ("one text", "found one text; give files as `corpus`"),
        (5, "texts: expected a list of texts, .* found a int"),
        (DatasetDict(train=Dataset.from_dict({"text": TEXTS})), "found a DatasetDict; choose a split"),
        (Dataset.from_dict({"sentence": TEXTS}), "expected a column `text`.*found sentence; rename them"),
        ([*TEXTS, None], "texts, row 120: expected text, found None; leave such rows out"),
        ([*TEXTS, " "], "texts, row 120: expected text, found ' '"),
        ([*TEXTS, PAIRS[0]], "texts, row 120: expected a text or a pair of texts, found"),
        ([*PAIRS, TEXTS[0]], "texts, row 120: expected a pair, as in the row before, found"),
        ([("a", "b", "c")] * 120, "texts, row 0: expected a text or a pair of texts, found"),
    ],
)
def test_what_is_no_text_is_named(texts: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        text_columns(texts, two=None)


def test_pairs_are_refused_for_one_text() -> None:
    with pytest.raises(InputError, match="found pairs; the task reads one text"):
        text_columns(PAIRS, two=False)


def test_texts_are_kept_by_their_content(tmp_path: Path) -> None:
    path = keep_texts((TEXTS,), tmp_path)
    assert [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()] == TEXTS
    assert keep_texts((list(TEXTS),), tmp_path) == path != keep_texts((TEXTS[1:],), tmp_path)
    whole = path.read_bytes()
    check_kept(find_sources([str(path)]), tmp_path)
    path.write_bytes(whole[:20] + b"#" + whole[21:])
    with pytest.raises(InputError, match=f"--corpus {path}: expected the texts that were handed over, found a file th"):
        check_kept(find_sources([str(path)]), tmp_path)
    assert keep_texts((TEXTS,), tmp_path) == path and path.read_bytes() == whole


def test_pairs_are_used_as_they_are_and_some_are_held_out(caplog: pytest.LogCaptureFixture) -> None:
    pairs = [*PAIRS, PAIRS[0], (PAIRS[1][0], "another text")]
    columns = tuple(list(column) for column in zip(*pairs, strict=True))
    with caplog.at_level(logging.INFO, logger="zskd"):
        config, pools = with_pairs(DistillConfig(task="rte"), columns, given=None)
    parts = [
        list(zip(part["text"], part["text_b"], strict=True)) for part in (pools.transfer, pools.select, pools.report)
    ]
    assert sorted([*parts[0], *parts[1], *parts[2]]) == sorted(set(pairs))
    assert config.perturb == "none" and config.pool_size == len(parts[0]) >= 64
    assert not {one for one, _ in parts[0]} & {one for one, _ in parts[1] + parts[2]}, "by the first text"
    assert "122 pairs, 1 of them repeated" in caplog.text
    assert f"held out {len(parts[1])} to choose the checkpoint and {len(parts[2])} to report" in caplog.text
    with pytest.raises(InputError, match="perturb random: pairs that are handed over are used as they are"):
        with_pairs(DistillConfig(task="rte"), columns, given="random")
    with pytest.raises(InputError, match="expected more different pairs, found 1"):
        with_pairs(DistillConfig(task="rte"), (["a"] * 120, ["b"] * 120), given=None)


def test_characters_that_no_text_has_are_replaced_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken, mended = ["a fine\ud83d film", "a\0b"], ["a fine\ufffd film", "a\ufffdb"]
    assert text_columns([*TEXTS, *broken], two=None) == ([*TEXTS, *mended],)
    pairs = text_columns([*PAIRS, tuple(broken)], two=True)
    assert [column[-1] for column in pairs] == mended
    one, two = caplog.messages
    assert one.startswith("texts, row 120:") and "2 such character(s) in 2 text(s)" in one
    assert two.startswith("texts, row 120:")
    assert mended[0] in json.loads(keep_texts(pairs, tmp_path).read_text(encoding="utf-8").splitlines()[-1])["text"]


def test_a_long_wrong_row_is_cut_in_the_message() -> None:
    with pytest.raises(InputError) as caught:
        text_columns([*TEXTS, 5 * 10**900], two=None)
    assert len(str(caught.value)) < 200
