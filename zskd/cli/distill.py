"""`zskd distill`: a teacher and some text in, a student out."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import Any

from zskd.checks import check
from zskd.cli import publish
from zskd.cli.launch import (
    end_without_threads,
    is_main,
    launch,
    launched,
    leave_the_other_processes,
    started_by_launcher,
)
from zskd.cli.parser import add_method_options, add_quiet, add_run_options, brief_row, build_config, set_up_logging
from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import unused_options
from zskd.config.resolve import DEFAULT_CONFIG
from zskd.errors import InputError
from zskd.runs.folder import run_path

logger = logging.getLogger(__name__)

_FIRST = """examples:
  zskd distill --task sst2
      the default with a Hub: BERT-large teacher, BERT-mini student, WikiText-103
  zskd distill --task sst2 --config embedded --output-dir runs/first
      without a Hub: everything comes from Python packages
  zskd distill --task sst2 --config embedded --teacher my-classifier
      your own teacher
"""
_PRECEDENCE = "Options come from the configuration (--config, default `glue`); flags override it."

EPILOG = f"""{_FIRST}\
  zskd distill --task sst2 --config embedded --corpus my-text.txt --glue-dir glue_data --seed 1
      other text, and the real dev set as the score
  zskd distill --task qnli --config embedded
      two texts: question and passage
  zskd distill --task my-task.yaml --config embedded --teacher my-classifier
      your own task (see configs/tasks/)
  zskd distill --task sst2 --config embedded --teacher my_module:ask --student my-small-bert
      a black-box teacher, of which only the outputs are known
  zskd distill --task sst2 --num-processes 4
      four processes on this machine, one GPU each where there are GPUs (docs/performance.md has several nodes)
  zskd distill --task sst2 --config embedded --publish me/sst2-mini
      publish the finished student on the Hub (private, unless --public)

With --dry-run, a rehearsal of some seconds says how long the run would take.
With --json, only metrics.json goes to standard output; the log goes to standard error.
{_PRECEDENCE}"""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("distill", help="train a student from a teacher without its data", epilog=EPILOG)
    parser.first_examples = f"{_FIRST}\n{_PRECEDENCE}"
    add_run_options(parser)
    dry = parser.add_argument(
        "--dry-run", action="store_true", help="say inputs, queries, steps, time and disk; start nothing"
    )
    as_json = parser.add_argument("--json", action="store_true", help="print metrics.json instead of the closing table")
    parser.brief += map(brief_row, (publish.add_flags(parser), dry, as_json, add_quiet(parser)))
    add_method_options(parser)
    parser.set_defaults(run=run)


def distill_config(arguments: argparse.Namespace) -> DistillConfig:
    """The checked options of a distillation. Logs a warning if a given option belongs to a method not in use.

    Raises:
        InputError: all problems found.
    """
    config = build_config(arguments, DistillConfig, check, default_config=DEFAULT_CONFIG)
    if is_main():
        for line in unused_options(config, vars(arguments)):
            logger.warning(line)
    return config


def run(arguments: argparse.Namespace) -> int:
    """Distil, then print the closing table, or only the metrics as JSON."""
    main, several, succeed = is_main(), False, end_without_threads()
    set_up_logging(quiet=arguments.quiet or not main)
    config = distill_config(arguments)
    if arguments.dry_run:
        return _forecast(config, as_json=arguments.json)
    then = publish.after_run(arguments) if main else None
    if main:
        _check_hub_ids(config)
    from zskd.pipeline import Result, distill

    if config.num_processes and config.num_processes > 1 and not started_by_launcher():
        if code := launch("distill", config, config.num_processes, quiet=arguments.quiet):
            return code
        result = Result.read(run_path(config))
    else:
        result = distill(config)
        several = leave_the_other_processes()
    if main and not launched():
        _show(result.metrics, result.run_dir, as_json=arguments.json)
    if then is not None:
        print(f"published: {then.publish(str(run_path(config)))}", file=sys.stderr if arguments.json else sys.stdout)
    if several:
        succeed()
    return 0


def _forecast(config: DistillConfig, *, as_json: bool) -> int:
    if started_by_launcher():
        raise InputError("--dry-run: expected one process, found a launcher's; leave torchrun or accelerate launch out")
    _check_hub_ids(config)
    from zskd.forecast import forecast, words

    found = forecast(config)
    print(json.dumps(dataclasses.asdict(found) | {"queries": found.queries}) if as_json else words(found, config))
    return 0


def _show(metrics: dict[str, Any], run_folder: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    from zskd.evaluation.results import notes, table
    from zskd.runs.read import read_part

    print(table(metrics))
    print(notes(metrics, read_part(run_folder, "config.yaml")))
    print(f"student: {run_folder / 'student'}")
    if (run_folder / "report.html").is_file():
        print(f"report: {run_folder / 'report.html'}")


def _check_hub_ids(config: DistillConfig) -> None:
    """Resolve all Hub names before anything slow starts. Without a network, this ends with a one-line error."""
    from zskd.hub.ask import is_callable_name, is_local, resolve_revision
    from zskd.models.backbones import PACKAGED
    from zskd.tasks.task import HUB_DATA, find_task

    task = find_task(config.task)
    wanted = (
        ("--teacher", config.teacher, task.teacher, config.teacher_revision, tuple(PACKAGED)),
        ("--student", config.student, task.student, config.student_revision, ("build",)),
    )
    for flag, name, default, revision, own in wanted:
        name = default if name == "default" else name
        if name not in own and not is_local(name) and not is_callable_name(name):
            resolve_revision(name, revision, flag=flag)
    if config.hub_eval and config.glue_dir is None:
        resolve_revision(HUB_DATA, None, flag="--hub-eval (--no-hub-eval does without)", repo_type="dataset")
