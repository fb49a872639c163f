"""Everything about a configuration that can be found wrong before a weight is loaded.

Imports neither torch nor transformers. Each problem names the flag, what was expected and what was found.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from zskd.config import Config, DistillConfig, EvaluateConfig, FinetuneConfig, flag, nearest
from zskd.errors import InputError
from zskd.hub import is_local
from zskd.models.labels import align_labels, label_names, parse_label_map, read_model_config
from zskd.runfolder import check_run_folder
from zskd.tasks import TASKS, Task, check_header
from zskd.text.sources import check_source


def check(config: Config) -> list[str]:
    """All problems of a configuration, in the order of its options; empty where it can run."""
    problems = _check_ranges(config)
    task = TASKS.get(config.task)
    if task is None:
        found = f"found {config.task!r}; {nearest(config.task, TASKS)}" if config.task else "found none"
        problems.insert(0, f"--task: expected one of {', '.join(TASKS)}, {found}")
    elif isinstance(config, DistillConfig):
        problems += _check_distill(config, task)
    elif isinstance(config, FinetuneConfig):
        problems += _check_finetune(config, task)
    else:
        problems += _check_evaluate(config, task)
    return problems


def _check_ranges(config: Any) -> list[str]:
    problems = []
    for item in dataclasses.fields(config):
        value, meta = getattr(config, item.name), item.metadata
        if "choices" in meta and value not in meta["choices"]:
            problems.append(f"{flag(item.name)}: expected one of {', '.join(meta['choices'])}, found {value!r}")
        if value is None or isinstance(value, str | list | bool):
            continue
        if "low" in meta and not value >= meta["low"]:
            problems.append(f"{flag(item.name)}: expected at least {meta['low']}, found {value}")
        if "high" in meta and not value <= meta["high"]:
            problems.append(f"{flag(item.name)}: expected at most {meta['high']}, found {value}")
    return problems


def _collect(function: Any, *args: Any, **kwargs: Any) -> list[str]:
    try:
        function(*args, **kwargs)
    except InputError as error:
        return error.problems
    return []


def _check_classifier(task: Task, name: str, label_map: str | None, flag_name: str) -> list[str]:
    """Problems of a local classifier's labels; a Hub id is asked about when it is loaded."""
    shown = f"{flag_name} {name}"
    try:
        mapping = parse_label_map(label_map) if label_map else None
        if name == "embedded":
            if task.adapter_path() is None:
                return [f"{shown}: no adapter for {task.name} is packaged; train one with `zskd finetune`"]
        elif name != "default" and is_local(name):
            config = read_model_config(Path(name).expanduser(), flag=flag_name)
            align_labels(task, label_names(config), mapping, flag=shown)
    except InputError as error:
        return error.problems
    return []


def _check_distill(config: DistillConfig, task: Task) -> list[str]:
    problems = []
    if task.is_pair:
        problems.append(f"--task {task.name}: distilling tasks with two input texts is not built yet; sst2 works")
    problems += _check_classifier(task, config.teacher, config.label_map, "--teacher")
    if config.student not in ("build", "default") and is_local(config.student):
        problems += _collect(read_model_config, Path(config.student).expanduser(), flag="--student")
    if not config.corpus:
        problems.append("--corpus: expected files, folders, Hub data sets or `embedded`, found none")
    for name in config.corpus:
        problems += check_source(name)
    problems += _check_glue(task, config.glue_dir)
    if config.output_dir is not None:
        problems += check_run_folder(Path(config.output_dir), config)
    return problems


def _check_glue(task: Task, glue_dir: str | None) -> list[str]:
    if glue_dir is None:
        return []
    files = task.glue_files(glue_dir)
    main = next(iter(files.values()))
    return [
        f"--glue-dir {glue_dir}: {problem}"
        for path in files.values()
        if path == main or path.exists()
        for problem in check_header(task, path)
    ]


def _check_finetune(config: FinetuneConfig, task: Task) -> list[str]:
    problems = []
    if config.glue_dir is None:
        problems.append("--glue-dir: expected the folder that holds train.tsv, found none")
    else:
        problems += check_header(task, task.train_file(config.glue_dir))
        problems += _check_glue(task, config.glue_dir)
    if config.base != "embedded" and is_local(config.base):
        problems += _collect(read_model_config, Path(config.base).expanduser(), flag="--base")
    if config.output_dir and Path(config.output_dir).exists() and any(Path(config.output_dir).iterdir()):
        problems.append(f"--output-dir {config.output_dir}: expected a new or empty folder, found files in it")
    return problems


def _check_evaluate(config: EvaluateConfig, task: Task) -> list[str]:
    problems = []
    if not config.model:
        problems.append("--model: expected a folder or Hub id, found none")
    else:
        problems += _check_classifier(task, config.model, config.label_map, "--model")
    if not config.data:
        problems.append("--data: expected a labelled file, or `probe`; found none")
    elif config.data == "probe":
        if task.probe_path() is None:
            problems.append(f"--data probe: no probe for {task.name} is packaged")
    else:
        problems += [f"--data: {problem}" for problem in check_header(task, config.data)]
    return problems
