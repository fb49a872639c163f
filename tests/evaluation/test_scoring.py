"""Scores of a classifier on labelled rows are those of its own answers."""

from __future__ import annotations

import pytest
import torch

from zskd.evaluation.scoring import evaluate_rows, predict_classes
from zskd.tasks.labelled import Labelled, read_labelled
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier

SST2 = TASKS["sst2"]


def test_scores_are_those_of_the_models_own_classes(teacher: Classifier) -> None:
    rows = read_labelled(SST2, str(SST2.probe_path()))
    rows = Labelled(tuple(texts[:40] for texts in rows.texts), rows.labels[:40])
    found = evaluate_rows(SST2, rows, teacher, 32, "fp32")
    batch = teacher.tokenizer(*rows.texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
    with torch.inference_mode():
        classes = teacher.model(**batch).logits[:, list(teacher.order)].argmax(-1)
    assert predict_classes(teacher, rows.texts, 32, "fp32").tolist() == classes.tolist()
    assert found["rows"] == 40
    assert found["accuracy"] == pytest.approx(float((classes == torch.tensor(rows.labels)).float().mean()))
