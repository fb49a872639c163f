"""`zskd finetune`: train a teacher from labelled rows."""

from __future__ import annotations

import argparse
from typing import Any

from zskd.cli.parser import add_options, add_quiet, build_config, set_up_logging
from zskd.config.verbs import FinetuneConfig

EPILOG = """examples:
  zskd finetune --task sst2 --glue-dir glue_data --base embedded --output-dir runs/teacher-sst2
      a LoRA adapter on the embedded backbone
  zskd finetune --task mrpc --glue-dir glue_data --full --learning-rate 3.0e-5
      all weights
  zskd finetune --task rte --glue-dir glue_data --base embedded --adapter runs/teacher-mnli
      an adapter that starts from another task's

The checkpoint is chosen on rows kept aside from train.tsv; the dev file is scored once, at the end."""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("finetune", help="train a teacher from labelled rows", epilog=EPILOG)
    add_options(parser, FinetuneConfig, config_flag=True)
    add_quiet(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train and print the scores."""
    config = build_config(arguments, FinetuneConfig)
    set_up_logging(quiet=arguments.quiet)
    from zskd.finetune import finetune

    done = finetune(config)
    for name, scores in done.record["scores"].items():
        print(f"{name} ({scores['rows']} rows): accuracy {scores['accuracy']:.4f}")
    print(f"teacher: {done.folder}")
    return 0
