"""Labelled rows that a user adds to the transfer set; a run with them is not zero-shot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, Features, Value, concatenate_datasets

from zskd.errors import InputError
from zskd.system.processes import on_main
from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.teacher.labelling import LabelledTexts, label_texts
from zskd.text.shaping import text_columns

COLUMN = "gold_label"
UNKNOWN = -100  # marks rows without a gold label; `torch.nn.functional.cross_entropy` ignores this value
FAMILY = "labelled"


@dataclass(frozen=True)
class GoldTexts(LabelledTexts):
    """Labelled rows with the teacher's answers; `skipped` rows of the file were left out."""

    skipped: int = 0


def label_gold(
    task: Task,
    path: str,
    teacher: Teacher,
    cache: Path,
    pool: Dataset,
    *,
    max_length: int,
    precision: str,
    skip_bad_rows: bool | None = None,
) -> GoldTexts:
    """Rows of a labelled file with the columns of `pool`, the teacher's logits, and the labels in `COLUMN`.

    Args:
        pool: the transfer pool.
        skip_bad_rows: see `read_labelled`.

    Raises:
        InputError: the file is not usable; the message names the line.
    """
    rows = on_main(lambda: read_labelled(task, path, skip_bad_rows=skip_bad_rows))
    names = text_columns(pool)
    columns = dict(zip(names, rows.texts, strict=True)) | {"family": [FAMILY] * len(rows.labels)}
    made = Dataset.from_dict(columns, features=Features({name: Value("string") for name in columns}))
    labelled = label_texts(
        made, teacher, cache, max_length=max_length, precision=precision, description="teacher labels gold rows"
    )
    dataset = labelled.dataset.add_column(COLUMN, rows.labels)
    return GoldTexts(dataset, labelled.queries, labelled.live, labelled.cut, skipped=rows.skipped)


def with_gold(transfer: Dataset, gold: Dataset) -> Dataset:
    """The transfer set followed by labelled rows; `COLUMN` is `UNKNOWN` for the others.

    Raises:
        InputError: the transfer set has columns, added by a method, that labelled rows do not have.
    """
    unknown = transfer.add_column(COLUMN, [UNKNOWN] * len(transfer))
    if more := [name for name in unknown.column_names if name not in gold.column_names]:
        raise InputError(
            f"--gold-labels: labelled rows have no {', '.join(more)}, which a method adds to the transfer set; leave "
            "out the labels or the method"
        )
    return concatenate_datasets([unknown, gold.select_columns(unknown.column_names)])
