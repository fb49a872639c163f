"""Labelled rows of the user beside the transfer set: theirs have labels, the others say that they have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from zskd.errors import InputError
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier
from zskd.teacher.labelling import label_texts
from zskd.transfer.gold import COLUMN, FAMILY, UNKNOWN, label_gold, with_gold
from zskd.transfer.logits import teacher_logits

SST2 = TASKS["sst2"]
POOL = Dataset.from_dict({"text": ["one", "two", "three"], "family": ["sentence"] * 3})
OPTIONS = {"max_length": 16, "precision": "fp32"}


def test_rows_have_the_file_s_labels_and_the_teacher_s_logits(teacher: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "gold.tsv"
    path.write_text("sentence\tlabel\na fine film\t1\na dull film\t0\n", encoding="utf-8")
    found = label_gold(SST2, str(path), teacher, tmp_path, POOL, **OPTIONS)
    assert found.dataset[COLUMN][:] == [1, 0] and found.dataset["family"][:] == [FAMILY] * 2
    expected = teacher.logits((["a fine film", "a dull film"],), **OPTIONS)
    np.testing.assert_allclose(teacher_logits(found.dataset), expected, atol=1e-5)

    transfer = label_texts(POOL, teacher, tmp_path, description="test", **OPTIONS).dataset
    rows = with_gold(transfer, found.dataset)
    assert rows["text"][:] == ["one", "two", "three", "a fine film", "a dull film"]
    assert rows[COLUMN][:] == [UNKNOWN] * 3 + [1, 0]
    assert set(rows.column_names) == {*transfer.column_names, COLUMN}


def test_a_wrong_line_is_named(teacher: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "gold.tsv"
    path.write_text("sentence\tlabel\na fine film\t1\na dull film\tmaybe\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"gold\.tsv.*3"):
        label_gold(SST2, str(path), teacher, tmp_path, POOL, **OPTIONS)


def test_columns_that_labelled_rows_lack_are_not_dropped(teacher: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "gold.tsv"
    path.write_text("sentence\tlabel\na fine film\t1\na dull film\t0\n", encoding="utf-8")
    gold = label_gold(SST2, str(path), teacher, tmp_path, POOL, **OPTIONS).dataset
    transfer = label_texts(POOL, teacher, tmp_path, description="test", **OPTIONS).dataset
    with pytest.raises(InputError, match="--gold-labels: labelled rows have no weight, which a method adds"):
        with_gold(transfer.add_column("weight", [1.0, 2.0, 3.0]), gold)
