"""From dataclass fields to flags, and back to a checked configuration."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
import warnings
from typing import Any, NoReturn

from zskd.checks import check
from zskd.config.limits import flag
from zskd.config.resolve import Config, field_type, resolve
from zskd.errors import InputError, nearest
from zskd.tasks.defaults import with_task_defaults

_TITLES = {
    "models": "task and models",
    "text": "text",
    "labels": "labelling and selection",
    "data": "data",
    "training": "training",
    "objective": "the objective",
    "adversary": "the adversary (with --perturb adversarial)",
    "run": "run",
}


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, whose complaint about an unknown flag names the nearest valid one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, but a verb's parser does not hand unknown flags back to be reported without a hint."""
        known, rest = super().parse_known_args(args, namespace)
        if rest:
            flags = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
            unknown = [item for item in rest if item.startswith("-")] or rest
            raise InputError([f"unknown argument {item}; {nearest(item.partition('=')[0], flags)}" for item in unknown])
        return known, rest

    def error(self, message: str) -> NoReturn:
        """Report as every other wrong input is reported."""
        raise InputError(f"{message} (see `{self.prog} --help`)")


def add_options(parser: argparse.ArgumentParser, cls: type, *, config_flag: bool = False) -> None:
    """One flag per dataclass field; values stay as typed on the command line until `build_config` casts them."""
    groups: dict[str, Any] = {}
    if config_flag:
        parser.add_argument("--config", metavar="NAME|PATH", help="YAML options: a packaged name (`zskd ls`) or a file")
    for item in dataclasses.fields(cls):
        title = _TITLES[item.metadata["group"]]
        group = groups.get(title) or groups.setdefault(title, parser.add_argument_group(title))
        kind, _ = field_type(cls, item.name)
        default = [] if item.default is dataclasses.MISSING else item.default
        # argparse expands % in help texts
        text = item.metadata["help"].replace("%", "%%")
        if default not in (None, "", [], False):
            text += f" (default {default})"
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text}
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif kind is list:
            options |= {"nargs": "+", "metavar": "SOURCE"}
        elif "choices" in item.metadata:
            options["metavar"] = "|".join(item.metadata["choices"])
        else:
            options["metavar"] = {int: "N", float: "X"}.get(kind, item.name.rpartition("_")[2].upper())
        if positional := item.metadata.get("positional"):
            parser.add_argument(item.name, **(options | {"metavar": positional, "nargs": "?", "help": text}))
            continue
        group.add_argument(flag(item.name), **options)


def build_config(arguments: argparse.Namespace, cls: type[Config], *, default_config: str | None = None) -> Config:
    """Merge YAML and flags, and check the result.

    Raises:
        InputError: all problems found.
    """
    names = {item.name for item in dataclasses.fields(cls)}
    flags = {name: value for name, value in vars(arguments).items() if name in names}
    config, problems = resolve(cls, getattr(arguments, "config", None) or default_config, flags)
    config = with_task_defaults(config)
    if problems := problems + check(config):
        raise InputError(problems)
    return config


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """``--quiet``, which no result depends on and no configuration holds."""
    parser.add_argument("--quiet", action="store_true", help="no log lines and no progress bars, only warnings")


def set_up_logging(*, quiet: bool = False) -> None:
    """zskd's own log lines on standard error (from warnings on if `quiet`); those of the libraries from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("zskd")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # Notices between libraries, of no use to the person at the command line.
    for module in ("transformers", "peft", "torch", "accelerate", "datasets", "pyarrow"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=module)
        warnings.filterwarnings("ignore", category=UserWarning, module=module)
