"""`zskd pretrain`: a start for students, from a backbone and plain text."""

from __future__ import annotations

import argparse
import json
from typing import Any

from zskd.cli.launch import (
    end_without_threads,
    is_main,
    launch,
    launched,
    leave_the_other_processes,
    started_by_launcher,
)
from zskd.cli.parser import add_json, add_options, add_quiet, build_config, set_up_logging
from zskd.config.pretraining import PretrainConfig
from zskd.runs.start_record import start_path

EPILOG = """examples:
  zskd pretrain --corpus my-text.txt --output-dir runs/start
      a start for students of the embedded backbone's vocabulary, for one and two texts
  zskd pretrain --corpus my-text.txt --inputs two --tokens 30000000
      for two texts, and longer
  zskd distill --task qqp --config embedded --start-from runs/start
      a student that begins with it

A start is kept in the cache by what it was made of, and made once. A training that was ended goes on with the same
command and --resume, and gives the same start."""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("pretrain", help="distil a start for students, without a task", epilog=EPILOG)
    add_options(parser, PretrainConfig, config_flag=True)
    add_json(parser)
    add_quiet(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make a start and say what it is."""
    main, several, succeed = is_main(), False, end_without_threads()
    set_up_logging(quiet=arguments.quiet or not main)
    config = build_config(arguments, PretrainConfig, problems)
    if config.num_processes and config.num_processes > 1 and not started_by_launcher():
        if code := launch("pretrain", config, config.num_processes, quiet=arguments.quiet):
            return code
    else:
        from zskd.pretrain import pretrain

        pretrain(config)
        several = leave_the_other_processes()
    if main and not launched():
        from zskd.runs.start_record import read_start

        record = read_start(start_path(config), flag="--output-dir")
        if arguments.json:
            print(json.dumps({"folder": str(start_path(config)), **record}))
        else:
            print(f"start: {start_path(config)}, {record['parameters']:,} parameters, {record['tokens']:,} tokens read")
    if several:
        succeed()
    return 0


def problems(config: PretrainConfig) -> list[str]:
    """See `zskd.pretrain.problems.problems`, which needs the libraries."""
    from zskd.pretrain.problems import problems as found

    return found(config)
