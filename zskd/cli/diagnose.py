"""`zskd diagnose`: look at a teacher's answers before distillation."""

from __future__ import annotations

import argparse
import json
from typing import Any

from zskd.checks import check_cache_dir, check_corpus, check_options, check_outputs
from zskd.cli.parser import add_options, add_quiet, build_config, set_up_logging
from zskd.config.distillation import DistillConfig
from zskd.config.verbs import DiagnoseConfig
from zskd.hub.ask import is_callable_name
from zskd.models.folder_checks import check_classifier, check_length
from zskd.runs.read import run_config
from zskd.system.paths import name_problem
from zskd.tasks.labelled import check_header
from zskd.tasks.task import Task, find_task

EPILOG = """examples:
  zskd diagnose embedded --task mnli
  zskd diagnose my-classifier --task my-task.yaml --corpus my-text.txt --json
  zskd diagnose runs/sst2-0
      the teacher and the student of a run; the result is kept in RUN/diagnosis.json, which `zskd report` shows"""

_FROM_RUN = ("task", "corpus", "language", "label_map", "max_length", "cache_dir")


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("diagnose", help="look at a teacher's answers and say what to try", epilog=EPILOG)
    add_options(parser, DiagnoseConfig)
    add_quiet(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Diagnose and print text or JSON."""
    model = getattr(arguments, "model", "")
    run = None if name_problem(model) else run_config(model)
    if run is not None:
        for name in _FROM_RUN:
            if not hasattr(arguments, name) and getattr(run, name):
                setattr(arguments, name, getattr(run, name))
    config = build_config(arguments, DiagnoseConfig, problems)
    set_up_logging(quiet=arguments.quiet)
    from zskd.diagnosis.diagnose import diagnose
    from zskd.diagnosis.printed import as_text

    found = diagnose(config)
    print(json.dumps(found) if config.json else as_text(found))
    return 0


def problems(config: DiagnoseConfig) -> list[str]:
    """Problems with the options, found before anything loads."""
    return check_options(config, _problems)


def _problems(config: DiagnoseConfig, task: Task) -> list[str]:
    found, run = [], run_config(config.model)
    if not config.model:
        found.append("RUN|TEACHER: expected a run folder, a model folder, a Hub id or `embedded`, found none")
    elif run is not None:
        if find_task(run.task) != task:
            found.append(f"--task {task.name}: the run in {config.model} is for {run.task}")
        for name, flag_name in ((run.teacher, "--teacher"), (config.model, "RUN")):
            found += check_length(name, flag_name, config.max_length)
    elif config.model == "default" and not task.teacher:
        found.append(f"RUN|TEACHER default: {task.name} names no teacher; give a folder or a Hub id")
    elif not is_callable_name(config.model):
        found += check_classifier(task, config.model, config.label_map, "TEACHER", config.max_length)
    found += _code_problems(config, run)
    if run is None:
        found += check_outputs(config.teacher_outputs, is_callable_name(config.model))
    elif config.teacher_outputs != DiagnoseConfig.teacher_outputs:
        found.append(f"--teacher-outputs {config.teacher_outputs}: the run in {config.model} sets it; leave it out")
    found += check_corpus(config.corpus)
    if config.data is not None:
        found += [f"--data: {problem}" for problem in check_header(task, config.data)]
    return found + check_cache_dir(config.cache_dir)


def _code_problems(config: DiagnoseConfig, run: DistillConfig | None) -> list[str]:
    """A folder may come from somebody else; code that it names is imported only if the user names it too."""
    code = run.teacher if run is not None and is_callable_name(run.teacher) else None
    if config.teacher == code:
        return []
    if code is None:
        return [f"--teacher {config.teacher}: expected a run whose teacher is module:function beside it; leave it out"]
    found = f"found {config.teacher}" if config.teacher else "found none"
    return [f"--teacher: expected {code}, which the run in {config.model} would import, {found}; add --teacher {code}"]
