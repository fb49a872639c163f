"""`zskd validate`: find everything wrong with a run before it starts."""

from __future__ import annotations

import argparse
from typing import Any

import yaml

from zskd.cli.parser import add_options, build_config
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import DEFAULT_CONFIG, to_dict

EPILOG = """examples:
  zskd validate --task sst2 --config embedded
  zskd validate --config my-run.yaml --output-dir runs/second"""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser("validate", help="check the options of a distillation without starting it", epilog=EPILOG)
    add_options(parser, DistillConfig, config_flag=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the resolved options; problems are raised by `build_config`."""
    config = build_config(arguments, DistillConfig, default_config=DEFAULT_CONFIG)
    print(yaml.safe_dump(to_dict(config), sort_keys=False), end="")
    return 0
