"""`zskd validate`: check the options of a run without starting it."""

from __future__ import annotations

import argparse
import json
import logging
from typing import Any

import yaml

from zskd.cli.distill import distill_config
from zskd.cli.parser import add_run_verb, set_up_logging
from zskd.config.cost import cost_warnings
from zskd.config.resolve import to_dict
from zskd.tasks.task import find_task

logger = logging.getLogger(__name__)

EPILOG = """examples:
  zskd validate --task sst2 --config embedded
  zskd validate --config my-run.yaml --output-dir runs/second"""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = add_run_verb(
        verbs, "validate", text="check the options of a distillation without starting it", epilog=EPILOG
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the resolved options; problems are raised by `distill_config`."""
    set_up_logging(quiet=arguments.quiet)
    config = distill_config(arguments)
    task = find_task(config.task)
    for line in cost_warnings(config, task.num_labels, len(task.text_columns)):
        logger.warning(line)
    values = to_dict(config)
    print(json.dumps(values) if arguments.json else yaml.safe_dump(values, sort_keys=False).rstrip())
    return 0
