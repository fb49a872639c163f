"""`zskd evaluate`: score a saved classifier."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from zskd.checks import check_cache_dir, check_options, check_outputs
from zskd.cli.parser import add_options, add_quiet, build_config, set_up_logging
from zskd.config.verbs import EvaluateConfig
from zskd.errors import InputError
from zskd.hub.ask import is_callable_name
from zskd.models.folder_checks import check_classifier, run_folder, student_folder
from zskd.runs.read import run_config
from zskd.system.paths import name_problem
from zskd.tasks.labelled import check_header
from zskd.tasks.task import Task

EPILOG = """examples:
  zskd evaluate --model runs/sst2-0 --data glue_data/SST-2/dev.tsv
      the student of a run, on the task of the run
  zskd evaluate --model my-classifier --task sst2 --data probe --json"""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("evaluate", help="score a saved classifier on a labelled file", epilog=EPILOG)
    add_options(parser, EvaluateConfig)
    add_quiet(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Score and print a table or JSON."""
    model = getattr(arguments, "model", "")
    of_run = None
    if not hasattr(arguments, "task") and not name_problem(model):
        of_run = run_config(str(run_folder(model)))
    if of_run is not None:
        arguments.task = of_run.task
    config = build_config(arguments, EvaluateConfig, problems)
    set_up_logging(quiet=arguments.quiet)
    from zskd.config.resolve import cache_root
    from zskd.evaluation.scoring import evaluate_rows
    from zskd.inference.saved import check_own_student, pick_length
    from zskd.models.encoding import Cuts
    from zskd.tasks.labelled import read_labelled
    from zskd.tasks.task import find_task
    from zskd.teacher.load import load_teacher

    task, name = find_task(config.task), student_folder(config.model)
    path = task.probe_path() if config.data == "probe" else config.data
    rows = read_labelled(task, str(path), skip_bad_rows=config.skip_bad_rows)
    check_own_student(name)
    model = load_teacher(
        task,
        name,
        cache_root(config.cache_dir),
        None,
        config.label_map,
        outputs=config.teacher_outputs,
        flag="--model",
    )
    length = pick_length(model, config.max_length, task, shown=f"--model {config.model}")
    cuts = Cuts(length, model.trained_length)
    found = evaluate_rows(task, rows, model, length, model.precision(config.precision), cuts)
    cuts.tell_beyond(f"--model {config.model}")
    cuts.tell(Path(str(path)).name, "rows")
    # The same keys for every task; F1 is null if GLUE does not report it. `cut` is null for a callable.
    keys = ("rows", "accuracy", "f1", "majority", "above_chance")
    scores = {
        "task": task.name,
        **{key: found.get(key) for key in keys},
        "max_length": length if cuts.cut is not None else None,
        "cut": cuts.cut,
    }
    if config.skip_bad_rows:
        scores["skipped_rows"] = rows.skipped
    if config.json:
        print(json.dumps(scores))
    else:
        for name, value in scores.items():
            if value is None:
                continue
            print(f"{name:14}{f'{value:.4f}' if isinstance(value, float) else value}")
    return 0


def problems(config: EvaluateConfig) -> list[str]:
    """Problems with the options, found before anything loads."""
    return check_options(config, _problems)


def _problems(config: EvaluateConfig, task: Task) -> list[str]:
    found = []
    if not config.model:
        found.append("--model: expected a run folder, a model folder or a Hub id, found none")
    elif not is_callable_name(config.model):
        found += _model_problems(config, task)
    found += check_outputs(config.teacher_outputs, is_callable_name(config.model))
    if not config.data:
        found.append("--data: expected a labelled file, or `probe`; found none")
    elif config.data == "probe":
        if (probe := task.probe_path()) is None:
            found.append(f"--data probe: no probe for {task.name} is packaged")
        else:
            found += [f"--data probe: {problem}" for problem in check_header(task, probe)]
    else:
        found += [f"--data: {problem}" for problem in check_header(task, config.data)]
    return found + check_cache_dir(config.cache_dir)


def _model_problems(config: EvaluateConfig, task: Task) -> list[str]:
    try:
        name = student_folder(config.model)
    except InputError as error:
        return [f"--model {problem}" for problem in error.problems]
    return check_classifier(task, name, config.label_map, "--model", config.max_length)
