"""Scores of a finished teacher, in float32, on the probe and the dev file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zskd.config.verbs import FinetuneConfig
from zskd.evaluation.scoring import evaluate_rows
from zskd.finetune.start import NO_GLUE_DIR
from zskd.hub.glue_rows import hub_rows
from zskd.models.encoding import Cuts
from zskd.tasks.defaults import input_length
from zskd.tasks.labelled import check_header, read_labelled
from zskd.tasks.task import Task
from zskd.teacher.classifier import load_classifier


def score_teacher(
    task: Task, config: FinetuneConfig, folder: Path, cache: Path
) -> tuple[dict[str, Any], dict[str, int | None]]:
    """Scores of the saved teacher on the probe and the dev file, as far as they exist, and how many rows were cut."""
    teacher = load_classifier(task, str(folder), cache, flag="--output-dir")
    if config.glue_dir is None:
        files = {"probe": task.probe_path()}
        sets = {name: hub_rows(task, split, flag=NO_GLUE_DIR) for name, split in task.hub_splits.items()}
    else:
        files = {"probe": task.probe_path(), **task.glue_files(config.glue_dir)}
        sets = {}
    present = {name: path for name, path in files.items() if path is not None and not check_header(task, path)}
    skip = config.skip_bad_rows
    sets = {name: read_labelled(task, path, skip_bad_rows=skip) for name, path in present.items()} | sets
    cuts = {name: Cuts(input_length(config)) for name in sets}
    scores = {
        name: evaluate_rows(task, rows, teacher, input_length(config), "fp32", cuts[name])
        | ({"skipped_rows": rows.skipped} if rows.skipped else {})
        for name, rows in sets.items()
    }
    for name, counted in cuts.items():
        counted.tell(f"scoring, {name}", "rows")
    return scores, {name: counted.cut for name, counted in cuts.items()}
