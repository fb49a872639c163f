"""`zskd validate`: check the options of a run without starting it."""

from __future__ import annotations

import argparse
import logging
from typing import Any

import yaml

from zskd.cli.distill import distill_config
from zskd.cli.parser import add_method_options, add_run_options, set_up_logging
from zskd.config.cost import cost_warnings
from zskd.config.resolve import to_dict
from zskd.tasks.task import find_task

logger = logging.getLogger(__name__)

EPILOG = """examples:
  zskd validate --task sst2 --config embedded
  zskd validate --config my-run.yaml --output-dir runs/second"""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("validate", help="check the options of a distillation without starting it", epilog=EPILOG)
    add_run_options(parser)
    add_method_options(parser)
    parser.first_examples = EPILOG
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the resolved options; problems are raised by `distill_config`."""
    set_up_logging()
    config = distill_config(arguments)
    task = find_task(config.task)
    for line in cost_warnings(config, task.num_labels, len(task.text_columns)):
        logger.warning(line)
    print(yaml.safe_dump(to_dict(config), sort_keys=False), end="")
    return 0
