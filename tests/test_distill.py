"""The whole walk with a tiny local teacher."""

from __future__ import annotations

import json
from dataclasses import replace

from transformers import AutoModelForSequenceClassification, AutoTokenizer

from zskd.config import DistillConfig
from zskd.distill import distill
from zskd.runfolder import run_path


def test_local_teacher_leaves_the_whole_run_folder(tiny_config: DistillConfig, glue_dir) -> None:
    metrics = distill(replace(tiny_config, glue_dir=str(glue_dir)))
    run = run_path(tiny_config)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    student = AutoModelForSequenceClassification.from_pretrained(run / "student")
    tokenizer = AutoTokenizer.from_pretrained(run / "student")
    assert student.config.id2label == {0: "negative", 1: "positive"}
    assert student(**tokenizer("a fine film", return_tensors="pt")).logits.shape == (1, 2)
