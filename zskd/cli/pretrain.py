"""`zskd pretrain`: a start for students, from a backbone and plain text."""

from __future__ import annotations

import argparse
from typing import Any

from zskd.checks import check_cache_dir, check_corpus, check_output_dir, check_processes, launchers_precision
from zskd.cli.launch import (
    end_without_threads,
    is_main,
    launch,
    launched,
    leave_the_other_processes,
    started_by_launcher,
)
from zskd.cli.parser import add_options, add_quiet, build_config, set_up_logging
from zskd.config.limits import flag_of, limit_problems, within_limits
from zskd.config.pretraining import PretrainConfig
from zskd.hub.ask import is_local
from zskd.models.folder_checks import check_local
from zskd.runs.start_record import start_path
from zskd.system.paths import exists

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
        print(f"start: {start_path(config)}, {record['parameters']:,} parameters, {record['tokens']:,} tokens read")
    if several:
        succeed()
    return 0


def problems(config: PretrainConfig) -> list[str]:
    """Problems with the options, found before anything loads."""
    found = limit_problems(config)
    named, usable = set(map(flag_of, found)), within_limits(config)
    return found + [problem for problem in _problems(usable) if flag_of(problem) not in named]


def _problems(config: PretrainConfig) -> list[str]:
    found = []
    if config.backbone != "embedded" and is_local(config.backbone):
        found += check_local(config.backbone, "--backbone", config.max_length)
    if config.backbone_revision is not None and (config.backbone == "embedded" or is_local(config.backbone)):
        found.append(
            f"--backbone-revision {config.backbone_revision}: expected a Hub id as --backbone beside it, found "
            f"{config.backbone}; leave it out"
        )
    found += check_corpus(config.corpus)
    processes = config.num_processes or 1
    if config.batch_size % processes:
        found.append(
            f"--batch-size {config.batch_size}: expected a multiple of the {processes} processes that share it"
        )
    found += check_processes(config.num_processes)
    if asked := launchers_precision("no"):
        found.append(
            f"--num-processes: the launcher asks for {asked} (accelerate launch --mixed_precision, or "
            "ACCELERATE_MIXED_PRECISION), and a start is trained in float32; set it to `no`"
        )
    output = start_path(config)
    if output_problems := check_output_dir(output):
        found += output_problems
    elif exists(output) and any(output.iterdir()):
        found.append(f"--output-dir {output}: expected a new or empty folder, found files in it; choose another one")
    return found + check_cache_dir(config.cache_dir)
