"""From dataclass fields to flags, and back to a checked configuration."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from zskd.config import shared
from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag, flag_of
from zskd.config.methods.table import METHODS
from zskd.config.option import default_of
from zskd.config.resolve import Config, field_type, resolve
from zskd.errors import InputError, nearest
from zskd.system.paths import name_problem
from zskd.system.yaml_text import brief
from zskd.tasks.defaults import with_task_defaults

# Titles of the groups of options in the help, in order.
_TITLES = {
    "models": "task and models",
    "text": "text",
    "labels": "labelling and selection",
    "data": "data",
    "training": "training",
    "objective": "the objective",
    "run": "run",
    "methods": "methods",
}
_COLUMN = 24  # column in which the texts of a short help begin


class Parser(argparse.ArgumentParser):
    """An argparse parser without abbreviations; its error for an unknown flag suggests the nearest valid one.

    Attributes:
        brief: rows of the short help, (flag with its value, one line about it). If there are any, ``--help`` shows only
            these, and ``--help-all`` shows everything.
        first_examples: end of the short help, in place of `epilog`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)
        self.brief: list[tuple[str, str]] = []
        self.first_examples = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, but unknown flags are reported here, with a hint."""
        known, rest = super().parse_known_args(args, namespace)
        if rest:
            flags = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
            unknown = [item for item in rest if item.startswith("-")] or rest
            hints = ((brief(item).strip("'"), nearest(item.partition("=")[0], flags)) for item in unknown)
            raise InputError([f"unknown argument {item}; {hint}" for item, hint in hints])
        return known, rest

    def error(self, message: str) -> NoReturn:
        """Report like any other wrong input."""
        raise InputError(f"{message} (see `{self.prog} --help`)")

    def format_help(self) -> str:
        """The short help if there is one, else argparse's."""
        if not self.brief:
            return super().format_help()
        rows = [f"  {name:<{_COLUMN - 2}}{text}" for name, text in self.brief]
        return "\n".join([self.format_usage(), "options:", *rows, "", self.first_examples, ""])

    def format_help_all(self) -> str:
        """The full help of every flag, as argparse formats it."""
        return super().format_help()


class _HelpAll(argparse.Action):
    def __call__(self, parser: Any, *rest: Any) -> None:
        """Print the full help and exit, as ``--help`` does."""
        print(parser.format_help_all(), end="")
        parser.exit()


def add_options(parser: Parser, cls: type, *, config_flag: bool = False) -> None:
    """Add one flag per dataclass field. Values stay strings until `build_config` converts them."""
    if config_flag:
        _add_config_flag(parser)
    _add_fields(parser, cls, dataclasses.fields(cls))


def add_run_options(parser: Parser) -> None:
    """Add the flags of a distillation, except those of its methods, to the short and the full help.

    `add_method_options` must be called last, after the verb's own flags.
    """
    methods = {item.name for spec in METHODS.values() for item in dataclasses.fields(spec.options)}
    parser.usage = f"{parser.prog} --task TASK [options]"
    parser.brief.append(brief_row(_add_config_flag(parser)))
    own = [item for item in dataclasses.fields(DistillConfig) if item.name not in methods]
    _add_fields(parser, DistillConfig, own)
    parser.brief += [_brief_field(item) for item in own if "brief" in item.metadata]


def add_method_options(parser: Parser) -> None:
    """Add the options of each method under its name, and ``--help-all``, which shows them."""
    for spec in METHODS.values():
        group = parser.add_argument_group(f"method {spec.name}: {spec.summary}")
        for item in dataclasses.fields(spec.options):
            _add_field(group, spec.options, item)
    whole = parser.add_argument("--help-all", action=_HelpAll, nargs=0, help="all options, including those of methods")
    parser.brief += [brief_row(whole), ("-h, --help", "this help")]


def add_run_verb(verbs: Any, name: str, *, text: str, epilog: str) -> Parser:
    """Register a verb that prints the options of a distillation, which it takes as they are for one."""
    parser: Parser = verbs.add_parser(name, help=text, epilog=epilog)
    add_run_options(parser)
    parser.brief += map(brief_row, (add_json(parser, "YAML"), add_quiet(parser)))
    add_method_options(parser)
    parser.first_examples = epilog
    return parser


def brief_row(action: argparse.Action) -> tuple[str, str]:
    """A row of the short help that repeats a flag's help text."""
    return f"{action.option_strings[0]} {action.metavar or ''}".rstrip(), str(action.help)


def _add_config_flag(parser: Parser) -> argparse.Action:
    return parser.add_argument(
        "--config", metavar="NAME|PATH", help="YAML options: a packaged name (`zskd ls`) or a file"
    )


def _add_fields(parser: Parser, cls: type, items: Iterable[Any]) -> None:
    """Add flags in groups, in the order of `_TITLES`."""
    by_group: dict[str, list[Any]] = {name: [] for name in _TITLES}
    for item in items:
        by_group[item.metadata["group"]].append(item)
    for name, members in by_group.items():
        group = parser.add_argument_group(_TITLES[name]) if members else parser
        for item in members:
            _add_field(parser if "positional" in item.metadata else group, cls, item)


def _add_field(group: Any, cls: type, item: Any) -> None:
    kind, _ = field_type(cls, item.name)
    default = default_of(item)
    text = item.metadata["help"].replace("%", "%%")  # argparse expands % in help texts
    if default not in (None, "", [], False):
        text += f" (default {default})"
    options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text}
    if positional := item.metadata.get("positional"):
        group.add_argument(item.name, **options, metavar=positional, nargs="?")
        return
    if kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif "choices" in item.metadata:
        options["metavar"] = "|".join(item.metadata["choices"])
    else:
        options["metavar"] = _metavar(cls, item)
    if kind is list:
        options["nargs"] = "+"
    group.add_argument(flag(item.name), **options)


def _metavar(cls: type, item: Any) -> str:
    kind, _ = field_type(cls, item.name)
    name = {int: "N", float: "X"}.get(kind, item.name.rpartition("_")[2].upper())
    return str(item.metadata.get("metavar", name))


def _brief_field(item: Any) -> tuple[str, str]:
    """The row of a field in the short help; its choices are part of the text."""
    kind, _ = field_type(DistillConfig, item.name)
    value = "" if kind is bool else f" {_metavar(DistillConfig, item)}" + (" ..." if kind is list else "")
    choices = ", ".join(item.metadata.get("choices", ()))
    return flag(item.name) + value, item.metadata["brief"].format(default=default_of(item), choices=choices)


def build_config(
    arguments: argparse.Namespace,
    cls: type[Config],
    check: Callable[[Config], list[str]],
    *,
    default_config: str | None = None,
) -> Config:
    """Merge YAML and flags, fill in the task's defaults, and check the result.

    Args:
        check: function that finds problems with the options.

    Raises:
        InputError: all problems found.
    """
    names = {item.name for item in dataclasses.fields(cls)}
    flags = {name: value for name, value in vars(arguments).items() if name in names}
    named = getattr(arguments, "config", None)
    try:
        config, problems = resolve(cls, default_config if named is None else named, flags)
        relevant = None
    except InputError as error:
        config, problems = resolve(cls, None, flags)
        problems = error.problems + problems
        relevant = set(map(flag, flags))  # what else the file says is not known
    config = with_task_defaults(config)
    # An option that was given and cannot be used is not missing.
    given = {flag_of(problem) for problem in problems}
    for problem in check(config):
        if flag_of(problem) not in given and (relevant is None or flag_of(problem) in relevant):
            problems.append(problem)
    if problems:
        raise InputError(problems)
    return config


def check_texts(**values: str | None) -> None:
    """Check the texts of flags that are no fields of a configuration.

    Args:
        values: by the flag's name, or by that of an argument without a flag, in capitals.

    Raises:
        InputError: there is one that nothing can be named by; all of them are named.
    """
    problems = []
    for name, value in values.items():
        if value is None:
            continue
        problem = name_problem(value) if value.strip() else "expected a value, found an empty text"
        if problem:
            problems.append(f"{name if name.isupper() else flag(name)}: {problem}")
    if problems:
        raise InputError(problems)


def add_quiet(parser: Parser) -> argparse.Action:
    """Add ``--quiet``, which is not part of a configuration because no result depends on it."""
    return parser.add_argument("--quiet", action="store_true", help="show only warnings, no log and no progress bars")


def add_json(parser: Parser, instead_of: str = "text") -> argparse.Action:
    """Add ``--json`` to a verb whose configuration has none."""
    return parser.add_argument("--json", action="store_true", help=f"print one JSON object instead of {instead_of}")


def add_cache_dir(parser: Parser) -> None:
    """Add ``--cache-dir`` to a verb without a configuration."""
    parser.add_argument("--cache-dir", metavar="DIR", help=shared.CACHE_DIR)


def set_up_logging(*, quiet: bool = False) -> None:
    """Log to standard error: zskd from INFO (WARNING if `quiet`), libraries from WARNING."""
    from zskd.system.progress import LogHandler

    handler = LogHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("zskd")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # Notices that are meant for developers of these libraries.
    for module in ("transformers", "peft", "torch", "accelerate", "datasets", "pyarrow"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=module)
        warnings.filterwarnings("ignore", category=UserWarning, module=module)
