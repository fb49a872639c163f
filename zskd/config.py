"""The options of every verb: one dataclass field = one flag = one YAML key.

This module imports neither torch nor transformers, so that ``zskd --help`` and the checks stay quick.
Precedence is default < YAML file < flag; `resolve` applies it.
"""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml

from zskd.errors import InputError, nearest
from zskd.tasks import find_task

PERTURBATIONS = ("none", "random")
PRECISIONS = ("auto", "fp32", "bf16")
POOL_SIZES = {1: 180_000, 2: 90_000}  # by number of input texts; a pair costs more tokens
MAX_SEED = 2**32 - 1  # NumPy's legacy generator takes no larger one


def _option(default: Any, help: str, **metadata: Any) -> Any:
    metadata["help"] = help
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class DistillConfig:
    """Everything a distillation run depends on. Each field's help text says what it means."""

    # What is distilled into what
    task: str = _option("", "task name (`zskd ls` lists them) or a task file (.yaml)", group="models")
    teacher: str = _option(
        "default",
        "Hub id or folder of a fine-tuned classifier; `embedded`: the packaged adapter on its backbone; "
        "`default`: the task's teacher on the Hub",
        group="models",
    )
    teacher_revision: str | None = _option(None, "commit or tag of a Hub teacher", group="models")
    label_map: str | None = _option(
        None,
        "the teacher's label names in the task's words, for example LABEL_0=negative,LABEL_1=positive",
        group="models",
    )
    student: str = _option(
        "build",
        "Hub id or folder the student starts from; `build`: made from the teacher under --compression; "
        "`default`: the task's student on the Hub",
        group="models",
    )
    student_revision: str | None = _option(None, "commit or tag of a Hub student", group="models")
    compression: float = _option(
        30.0, "a built student has at most 1/COMPRESSION of the teacher's parameters", low=1.5, group="models"
    )
    # Text
    corpus: list[str] = _option(
        [],
        "out-of-domain text: files (.txt .txt.gz .jsonl .parquet), folders, Hub data sets "
        "(ID or ID:CONFIG), or `embedded` (documentation prose already on this machine)",
        group="text",
    )
    corpus_fraction: float = _option(1.0, "share of the source documents to use", low=0.0001, high=1.0, group="text")
    perturb: str = _option("random", "what happens to sub-spans of the text", choices=PERTURBATIONS, group="text")
    pool_size: int | None = _option(
        None, "inputs in the transfer pool; default 180000, for tasks with two texts 90000", low=64, group="text"
    )
    heldout: int = _option(
        4_000,
        "held-out texts: one half selects checkpoints, the other reports agreement",
        low=16,
        group="text",
    )
    max_length: int | None = _option(
        None,
        "tokens; longer inputs are cut, for teacher and student; default: the task's (`zskd ls`)",
        low=8,
        high=512,
        group="text",
    )
    # Labelling and selection
    precision: str = _option(
        "auto",
        "precision of the teacher; auto: bf16 where the processor has it",
        choices=PRECISIONS,
        group="labels",
    )
    min_confidence: float = _option(
        0.0,
        "drop inputs on which the teacher's largest probability is lower; 0 keeps all",
        low=0.0,
        high=1.0,
        group="labels",
    )
    max_class_share: float = _option(
        0.8,
        "drop inputs of a predicted class above this share of the transfer set; 1 keeps all",
        low=0.01,
        high=1.0,
        group="labels",
    )
    # Training
    temperature: float = _option(1.0, "temperature of the distillation loss", low=0.01, group="training")
    epochs: float = _option(2.0, "passes over the transfer set", low=0.001, group="training")
    batch_size: int = _option(64, "inputs per process and step", low=1, group="training")
    gradient_accumulation: int = _option(1, "steps whose gradients are added up", low=1, group="training")
    learning_rate: float | None = _option(
        None,
        "peak learning rate; default 2.0e-3 for a built student (1.0e-3 with two texts), 3.0e-4 for any other",
        low=0.0,
        group="training",
    )
    warmup: float = _option(
        0.06, "share of the steps in which the learning rate rises", low=0.0, high=1.0, group="training"
    )
    weight_decay: float = _option(0.01, "decoupled weight decay", low=0.0, group="training")
    checkpoints: int = _option(
        10, "checkpoints per run; the one that agrees best with the teacher wins", low=1, group="training"
    )
    logging_steps: int = _option(50, "optimizer steps between two log lines", low=1, group="training")
    report_to: str = _option("none", "tracker that Trainer reports to (tensorboard, wandb, ...)", group="training")
    # Run
    seed: int = _option(0, "seed of everything random", low=0, high=MAX_SEED, group="run")
    glue_dir: str | None = _option(
        None, "GLUE folder (or the task's own) whose dev file is scored after training", group="run"
    )
    hub_eval: bool = _option(False, "score the dev set of nyu-mll/glue from the Hub after training", group="run")
    output_dir: str | None = _option(None, "run folder; default runs/TASK-SEED", group="run")
    resume: bool = _option(False, "continue the run that the run folder holds", group="run")
    cache_dir: str | None = _option(None, "cache folder; default $ZSKD_CACHE or ~/.cache/zskd", group="run")


@dataclass
class FinetuneConfig:
    """Options of `zskd finetune`: train a teacher from labelled rows in GLUE's layout."""

    task: str = _option("", "task name (`zskd ls` lists them) or a task file (.yaml)", group="models")
    base: str = _option("embedded", "backbone: `embedded`, a Hub id or a folder", group="models")
    adapter: str | None = _option(
        None, "folder of an adapter of the same base and rank to start from, for example MNLI's for RTE", group="models"
    )
    full: bool = _option(False, "train all weights instead of a LoRA adapter", group="models")
    rank: int = _option(16, "rank of the LoRA matrices", low=1, group="models")
    glue_dir: str | None = _option(
        None, "GLUE folder (or the task's own) that holds train.tsv; default: nyu-mll/glue on the Hub", group="data"
    )
    selection_rows: int = _option(600, "training rows kept aside to choose the checkpoint", low=16, group="data")
    max_rows: int | None = _option(None, "use at most this many training rows", low=32, group="data")
    max_length: int | None = _option(
        None, "tokens; longer inputs are cut; default: the task's", low=8, high=512, group="data"
    )
    epochs: float = _option(3.0, "passes over the training rows", low=0.001, group="training")
    batch_size: int = _option(32, "rows per step", low=1, group="training")
    learning_rate: float = _option(
        7.0e-4, "peak learning rate (full weights want about 3.0e-5)", low=0.0, group="training"
    )
    warmup: float = _option(
        0.06, "share of the steps in which the learning rate rises", low=0.0, high=1.0, group="training"
    )
    weight_decay: float = _option(0.01, "decoupled weight decay", low=0.0, group="training")
    checkpoints: int = _option(
        12,
        "evaluations per run; the best on the kept rows, or a mean of the last ones, wins",
        low=1,
        group="training",
    )
    precision: str = _option("auto", "precision of training", choices=PRECISIONS, group="training")
    seed: int = _option(0, "seed of everything random", low=0, high=MAX_SEED, group="run")
    output_dir: str | None = _option(None, "folder of the trained teacher; default runs/teacher-TASK", group="run")
    cache_dir: str | None = _option(None, "cache folder; default $ZSKD_CACHE or ~/.cache/zskd", group="run")


@dataclass
class EvaluateConfig:
    """Options of `zskd evaluate`: score a saved classifier on a labelled file."""

    model: str = _option("", "folder or Hub id of the classifier", group="models")
    task: str = _option("", "task name (`zskd ls` lists them) or a task file (.yaml)", group="models")
    label_map: str | None = _option(
        None, "the model's label names in the task's words, as in `distill`", group="models"
    )
    data: str = _option("", "labelled file in GLUE's columns, or `probe`", group="data")
    max_length: int | None = _option(
        None, "tokens; longer inputs are cut; default: the task's", low=8, high=512, group="data"
    )
    precision: str = _option("fp32", "precision of the model", choices=PRECISIONS, group="data")
    json: bool = _option(False, "print one JSON object instead of a table", group="run")
    cache_dir: str | None = _option(None, "cache folder; default $ZSKD_CACHE or ~/.cache/zskd", group="run")


Config = TypeVar("Config", DistillConfig, FinetuneConfig, EvaluateConfig)


def cache_root(cache_dir: str | None) -> Path:
    """The cache folder: the flag, else $ZSKD_CACHE, else ~/.cache/zskd."""
    return Path(cache_dir or os.environ.get("ZSKD_CACHE") or "~/.cache/zskd").expanduser()


def flag(name: str) -> str:
    """``batch_size`` -> ``--batch-size``."""
    return "--" + name.replace("_", "-")


def packaged_configs() -> dict[str, Path]:
    """Name -> path of the YAML files shipped as ``zskd.configs``."""
    folder = Path(str(resources.files("zskd.configs")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_yaml(name_or_path: str) -> dict[str, Any]:
    """Options from a packaged configuration or from a YAML file.

    Raises:
        InputError: neither a packaged name nor a file, not YAML, or not a mapping.
    """
    packaged = packaged_configs()
    path = packaged.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise InputError(
            f"--config {name_or_path}: no such file or packaged configuration; {nearest(name_or_path, packaged)}"
        )
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: expected YAML, found: {' '.join(str(error).split())}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise InputError(f"--config {path}: expected `option: value` lines, found a {type(loaded).__name__}")
    return loaded


def field_type(cls: type, name: str) -> tuple[type, bool]:
    """Plain type of a field and whether None is allowed; a list field answers (list, False)."""
    hint = typing.get_type_hints(cls)[name]
    if typing.get_origin(hint) is types.UnionType:
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        return inner[0], True
    return typing.get_origin(hint) or hint, False


def _cast(cls: type, name: str, value: Any) -> Any:
    """Value as the field's type; PyYAML reads 2e-5 as a string, so numbers are cast here."""
    kind, optional = field_type(cls, name)
    if value is None and optional:
        return None
    if kind is list:
        items = value if isinstance(value, list) else [value]
        if any(item is None or isinstance(item, dict | list) for item in items):
            raise ValueError
        return [str(item) for item in items]
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
        return int(number) if kind is int else number
    if isinstance(value, dict | list) or value is None:
        raise ValueError
    return str(value)


def resolve(cls: type[Config], config: str | None, flags: dict[str, Any]) -> tuple[Config, list[str]]:
    """Merge defaults, a YAML configuration and flags.

    Returns:
        The config object, and every unknown key and value of a wrong type; such options keep their default, so
        that the rest can still be checked.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    try:
        values = read_yaml(config) if config else {}
    except InputError as error:
        problems += error.problems
    merged = {}
    known = [item.name for item in dataclasses.fields(cls)]
    for origin, options in ((f"--config {config}", values), ("flag", flags)):
        for key, value in options.items():
            if key not in known:
                problems.append(f"{origin}: unknown option {key!r}; {nearest(str(key), known)}")
                continue
            try:
                merged[key] = _cast(cls, key, value)
            except (TypeError, ValueError, OverflowError):
                kind = field_type(cls, key)[0].__name__
                problems.append(f"{flag(key)}: expected a value of type {kind}, found {value!r}")
    return with_task_defaults(cls(**merged)), problems


def input_length(config: DistillConfig | FinetuneConfig | EvaluateConfig) -> int:
    """Tokens of an input, of a configuration that `with_task_defaults` has filled in."""
    assert config.max_length is not None
    return config.max_length


def with_task_defaults(config: Config) -> Config:
    """The configuration with the task's own values where none was given; unchanged where there is no such task."""
    try:
        task = find_task(config.task)
    except InputError:
        return config  # `zskd.checks.check` says what is wrong with it
    defaults = {"max_length": task.max_length, "pool_size": POOL_SIZES[len(task.text_columns)]}
    filled = dataclasses.replace(config)
    for name, value in defaults.items():
        if getattr(config, name, value) is None:
            setattr(filled, name, value)
    return filled


def to_dict(config: DistillConfig | FinetuneConfig | EvaluateConfig) -> dict[str, Any]:
    """Plain values, in field order, ready for YAML."""
    return dataclasses.asdict(config)
