"""Resolving a configuration from defaults, YAML files and flags. Flags override YAML, which overrides defaults.

Defaults that depend on the task are filled in later, by `zskd.tasks.defaults.with_task_defaults`.

This module imports neither torch nor transformers, so that ``zskd --help`` and the checks stay fast.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
import types
import typing
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag, text_problem
from zskd.config.pretraining import PretrainConfig
from zskd.config.verbs import DiagnoseConfig, EvaluateConfig, FinetuneConfig, PredictConfig
from zskd.errors import InputError, nearest
from zskd.system.paths import expanded, found_at, is_file
from zskd.system.yaml_text import brief, load_yaml, unknown_keys

DEFAULT_CONFIG = "glue"  # configuration of `zskd distill` without --config

TaskConfig = TypeVar("TaskConfig", DistillConfig, FinetuneConfig, EvaluateConfig, PredictConfig, DiagnoseConfig)
Config = TypeVar("Config", DistillConfig, FinetuneConfig, EvaluateConfig, PredictConfig, DiagnoseConfig, PretrainConfig)


def cache_root(cache_dir: str | None) -> Path:
    """The cache folder: the flag, else $ZSKD_CACHE, else ~/.cache/zskd."""
    return expanded(cache_dir or os.environ.get("ZSKD_CACHE") or "~/.cache/zskd")


def packaged_configs() -> dict[str, Path]:
    """Name -> path of the YAML files shipped as ``zskd.configs``."""
    folder = Path(str(resources.files("zskd.configs")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_yaml(name_or_path: str) -> dict[str, Any]:
    """Options from a packaged configuration or from a YAML file.

    Raises:
        InputError: the name is neither packaged nor a file, or the file is not a YAML mapping.
    """
    packaged = packaged_configs()
    path = packaged.get(name_or_path, Path(name_or_path))
    if not name_or_path or not is_file(path):
        found = "an empty text" if not name_or_path else found_at(path)
        raise InputError(
            f"--config {name_or_path}: no such file or packaged configuration, found {found}; "
            f"{nearest(name_or_path, packaged)}"
        )
    try:
        loaded = load_yaml(path, f"--config {path}")
    except OSError as error:
        raise InputError(f"--config {path}: expected a file that can be read, found: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise InputError(f"--config {path}: expected `option: value` lines, found a {type(loaded).__name__}")
    return loaded


_hints = functools.cache(typing.get_type_hints)  # called for every flag of every verb


def field_type(cls: type, name: str) -> tuple[type, bool]:
    """Plain type of a field and whether None is allowed; (list, False) for a list field."""
    hint = _hints(cls)[name]
    if typing.get_origin(hint) is types.UnionType:
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        return inner[0], True
    return typing.get_origin(hint) or hint, False


def _cast(cls: type, name: str, value: Any) -> Any:
    """Convert a value to the field's type. PyYAML reads 2e-5 as a string, so numbers are converted too."""
    kind, optional = field_type(cls, name)
    if value is None and optional:
        return None
    if kind is list:
        items = value if isinstance(value, list) else [value]
        separator = next(item for item in dataclasses.fields(cls) if item.name == name).metadata.get("separator")
        if separator:  # or spaces
            return [part for item in items for part in _text(item).replace(separator, " ").split()]
        return [_text(item) for item in items]
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise ValueError
    if kind in (int, float):
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if kind is int and number != int(number):
            raise ValueError
        return int(number) if kind is int else number + 0.0  # no negative zero
    return _text(value)


def _text(value: Any) -> str:
    """A text, or a number, date or path that stands for one. YAML takes an unquoted no for False."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | datetime.date | os.PathLike):
        raise TypeError
    return str(value)


def resolve(cls: type[Config], config: str | None, flags: dict[str, Any]) -> tuple[Config, list[str]]:
    """Merge defaults, a YAML configuration and flags.

    Returns:
        The merged options, and a message for every unknown key, every value of a wrong type and every text that nothing
        can be named by. Such options keep their default, so that the others can still be checked.

    Raises:
        InputError: the configuration cannot be read (`read_yaml`).
    """
    values = {} if config is None else read_yaml(config)
    problems: list[str] = []
    merged = {}
    known = {item.name: item for item in dataclasses.fields(cls)}
    for origin, options in ((f"--config {config}", values), ("flag", flags)):
        for key, value in options.items():
            if key not in known:
                continue
            try:
                cast = _cast(cls, key, value)
            except (TypeError, ValueError, OverflowError):
                kind = field_type(cls, key)[0].__name__
                advice = "; put it into quotes" if kind == "str" and isinstance(value, bool) else ""
                problems.append(f"{flag(key)}: expected a value of type {kind}, found {brief(value)}{advice}")
                continue
            if problem := text_problem(known[key], cast):
                problems.append(f"{flag(key)}: {problem}")
            else:
                merged[key] = cast
        unknown = unknown_keys([key for key in options if key not in known], known)
        problems += [f"{origin}: unknown option {line}" for line in unknown]
    return cls(**merged), problems


def to_dict(
    config: DistillConfig | FinetuneConfig | EvaluateConfig | DiagnoseConfig | PretrainConfig,
) -> dict[str, Any]:
    """Plain values, in field order, ready for YAML."""
    return dataclasses.asdict(config)
