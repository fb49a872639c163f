"""`zskd config`: the options of a distillation as they are resolved, and where each value comes from."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

import yaml

from zskd.cli.distill import distill_config
from zskd.cli.parser import add_run_verb, set_up_logging
from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag
from zskd.config.resolve import DEFAULT_CONFIG, read_yaml, to_dict

EPILOG = """examples:
  zskd config --task sst2 --config embedded
  zskd config --task qqp --config my-run.yaml --epochs 1
      the output is a configuration itself, for zskd distill --config FILE"""


def add_parser(verbs: Any) -> None:
    """Register the verb."""
    parser = add_run_verb(
        verbs, "config", text="show the options of a distillation and where they come from", epilog=EPILOG
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the resolved options; problems are raised by `distill_config`."""
    set_up_logging(quiet=arguments.quiet)
    config = distill_config(arguments)
    values, origins = to_dict(config), origins_of(config, arguments)
    if arguments.json:
        print(json.dumps({name: {"value": value, "from": origins[name]} for name, value in values.items()}, indent=2))
        return 0
    lines = {name: _line(name, value) for name, value in values.items()}
    width = min(48, max(map(len, lines.values())))
    for name, line in lines.items():
        print(f"{line:<{width}}  # {origins[name]}")
    return 0


def _line(name: str, value: Any) -> str:
    """A line of YAML."""
    if isinstance(value, list):
        return f"{name}: {yaml.safe_dump(value, default_flow_style=True, width=float('inf')).rstrip()}"
    return yaml.safe_dump({name: value}, width=float("inf")).rstrip()


def origins_of(config: DistillConfig, arguments: argparse.Namespace) -> dict[str, str]:
    """Where the value of each option comes from: its flag, the configuration, the task, or the default."""
    named = getattr(arguments, "config", None) or DEFAULT_CONFIG
    read, given = read_yaml(named), vars(arguments)

    def origin(item: dataclasses.Field[Any]) -> str:
        if item.name in given:
            return flag(item.name)
        if item.name in read:
            return f"--config {named}"
        if item.default is None and getattr(config, item.name) is not None:
            return f"default for {config.task} and these options"
        return "default"

    return {item.name: origin(item) for item in dataclasses.fields(config)}
