"""`zskd distill`: a teacher and some text in, a student out."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from zskd.cli import publish
from zskd.cli.launch import is_main, launch, launched, started_by_launcher
from zskd.cli.parser import add_options, add_quiet, build_config, set_up_logging
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import DEFAULT_CONFIG
from zskd.runs.folder import run_path

EPILOG = """examples:
  zskd distill --task sst2
      the default with a Hub: BERT-large teacher, BERT-mini student, WikiText-103
  zskd distill --task sst2 --config embedded --output-dir runs/first
      without a Hub: everything comes from Python packages
  zskd distill --task sst2 --config embedded --corpus my-text.txt --glue-dir glue_data --seed 1
      other text, and the real dev set as the score
  zskd distill --task sst2 --config embedded --teacher my-classifier --label-map LABEL_0=negative,LABEL_1=positive
      your own teacher
  zskd distill --task qnli --config embedded
      two texts: question and passage
  zskd distill --task my-task.yaml --config embedded --teacher my-classifier
      your own task (see configs/tasks/)
  zskd distill --task sst2 --config embedded --teacher my_module:ask --student my-small-bert
      a teacher known by its outputs alone
  zskd distill --task sst2 --num-processes 4
      four processes on this machine, one GPU each where there are GPUs (docs/performance.md has several nodes)
  zskd distill --task sst2 --config embedded --publish me/sst2-mini
      and the student on the Hub when it is finished (private, unless --public)

With --json, standard output is metrics.json and nothing else; the log stays on standard error.
Options come from the configuration (--config, default `glue`), flags override it."""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("distill", help="train a student from a teacher without its data", epilog=EPILOG)
    add_options(parser, DistillConfig, config_flag=True)
    publish.add_flags(parser)
    add_quiet(parser)
    parser.add_argument("--json", action="store_true", help="print metrics.json instead of the closing table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Distil and print the closing table, or the metrics as JSON and nothing else."""
    config = build_config(arguments, DistillConfig, default_config=DEFAULT_CONFIG)
    main = is_main()
    set_up_logging(quiet=arguments.quiet or not main)
    then = publish.after_run(arguments) if main else None
    if main:
        _check_hub_ids(config)
    if config.num_processes and config.num_processes > 1 and not started_by_launcher():
        if code := launch(config, config.num_processes, quiet=arguments.quiet):
            return code
        metrics = json.loads((run_path(config) / "metrics.json").read_text(encoding="utf-8"))
    else:
        from zskd.pipeline import distill

        metrics = distill(config)
    if main and not launched():
        _show(metrics, run_path(config), as_json=arguments.json)
    if then is not None:
        print(f"published: {then.publish(str(run_path(config)))}", file=sys.stderr if arguments.json else sys.stdout)
    return 0


def _show(metrics: dict[str, Any], run_folder: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    from zskd.evaluation.results import table

    print(table(metrics))
    print(f"student: {run_folder / 'student'}")
    if (run_folder / "report.html").is_file():
        print(f"report: {run_folder / 'report.html'}")


def _check_hub_ids(config: DistillConfig) -> None:
    """Ask for the Hub models by name before anything slow starts; without a network this ends in one line."""
    from zskd.hub.ask import is_callable_name, is_local, resolve_revision
    from zskd.tasks.task import HUB_DATA, find_task

    task = find_task(config.task)
    wanted = (
        ("--teacher", config.teacher, task.teacher, config.teacher_revision, ("embedded",)),
        ("--student", config.student, task.student, config.student_revision, ("build",)),
    )
    for flag, name, default, revision, own in wanted:
        name = default if name == "default" else name
        if name not in own and not is_local(name) and not is_callable_name(name):
            resolve_revision(name, revision, flag=flag)
    if config.hub_eval and config.glue_dir is None:
        resolve_revision(HUB_DATA, None, flag="--hub-eval (--no-hub-eval does without)", repo_type="dataset")
