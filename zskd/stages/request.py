"""Turn the arguments of `zskd.distill` (objects, lists, a data set) into the options of a run."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
import yaml
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.checks import check
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import cache_root, resolve
from zskd.errors import InputError
from zskd.models.loading import model_fingerprint
from zskd.runs.folder import run_path
from zskd.runs.read import read_part
from zskd.stages.texts import FOLDER, MIN_TEXTS, Inputs, keep_texts, text_columns, with_pairs
from zskd.system.checksums import keep_content
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.task import TASKS, Task, find_task, task_problems
from zskd.teacher.base import Teacher
from zskd.teacher.load import AnyTeacher, shows_weights
from zskd.text.shaping import Pools

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# What an option of `zskd distill` is called as an argument, where that is not its own name.
_ARGUMENTS = {"output_dir": "run_dir"}
_KEPT_TEXTS = re.compile(rf"--corpus \S*{FOLDER}/[0-9a-f]{{16}}\.jsonl")
_LABEL_MAP = re.compile(r"--label-map (\S+=\S+)")
_OPTION = re.compile(r"--([a-z][a-z0-9-]*)")


def in_words_of_python(function: Callable[P, R]) -> Callable[P, R]:
    """For a function that takes a configuration and keyword arguments: errors name arguments, not flags.

    Where it is called with a configuration alone, as the command line does, they name flags.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            if kwargs:
                error.problems = [_in_words_of_python(problem) for problem in error.problems]
                error.args = ("\n".join(error.problems),)
            raise

    return wrapped


def _in_words_of_python(problem: str) -> str:
    known = {item.name for item in dataclasses.fields(DistillConfig)} | {"config"}

    def argument(found: re.Match[str]) -> str:
        name = found[1].replace("-", "_")
        return _ARGUMENTS.get(name, name) if name in known else found[0]

    return _OPTION.sub(argument, _LABEL_MAP.sub(r'label_map="\1"', _KEPT_TEXTS.sub("texts", problem)))


@dataclass(frozen=True)
class Request:
    """Checked options, and objects that no option can hold.

    Attributes:
        config: checked options, with the task's defaults filled in.
        teacher: a teacher object; None to load ``config.teacher``.
        tokenizer: the tokenizer, if `teacher` is a model object.
        pools: ready inputs; None to shape them from the corpus.
        least: smallest number of sentences in the corpus; None for the usual minimum.
    """

    config: DistillConfig
    teacher: AnyTeacher | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    pools: Pools | None = None
    least: int | None = None


def make_request(
    config: DistillConfig | str | None = None,
    *,
    teacher: AnyTeacher | Path | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    task: Task | str | Path | None = None,
    labels: Sequence[str] | None = None,
    texts: Inputs | None = None,
    corpus: Sequence[str | Path] | str | Path | None = None,
    run_dir: str | Path | None = None,
    pools: Pools | None = None,
    **options: Any,
) -> Request:
    """See `zskd.pipeline.distill`.

    Raises:
        InputError: everything that can be found wrong before weights are loaded, in one error.
    """
    if isinstance(teacher, os.PathLike):
        teacher = os.fspath(teacher)
    if isinstance(teacher, Teacher):
        options = {"teacher_outputs": teacher.outputs, **options}
    made, problems = _options(config, options)
    problems += _argument_problems(made, teacher, task, labels, texts, corpus)
    if problems:
        raise InputError(problems)
    pairs = None
    if texts is not None:
        columns = text_columns(texts, two=_has_two_texts(task, made))
        pairs = columns if len(columns) == 2 else None
    made = replace(made, **_named(made, teacher, task, labels, corpus, run_dir, two=pairs is not None))
    cache, least = cache_root(made.cache_dir), None
    if texts is not None:
        least = MIN_TEXTS
        made = replace(made, corpus=[str(keep_texts(columns, cache)), *([] if corpus is None else made.corpus)])
    if pairs is not None:
        made, pools = with_pairs(made, pairs, given=options.get("perturb"))
    if pools is not None and made.pool_seed is not None:
        logger.warning(
            "pool_seed %d: has no effect, as the inputs are handed over and not made of text", made.pool_seed
        )
    if pools is not None and made.pairs != "plain":
        logger.warning("pairs %s: has no effect, as the inputs are handed over and not made of text", made.pairs)
        made = replace(made, pairs="plain")
    made = with_task_defaults(made)
    handed_over = None if isinstance(teacher, str) else teacher
    model = handed_over is not None and shows_weights(handed_over)
    if made.resume and made.query_budget is not None and _is_nameless(handed_over):
        raise InputError(
            "--resume: expected a teacher with an attribute `fingerprint`, by which its answers are found again, as "
            '--query-budget would be spent anew; set one (ask.fingerprint = "version 1")'
        )
    if problems := check(made, black_box=handed_over is not None and not model, model=model):
        raise InputError(problems)
    if model and made.resume:
        _check_same_weights(made, handed_over)
    return Request(made, handed_over, tokenizer, pools, least)


def _is_nameless(handed_over: AnyTeacher | None) -> bool:
    """Whether a callable was handed over of which nothing says that it is the one of an earlier run."""
    ready = handed_over is None or isinstance(handed_over, Teacher | PreTrainedModel)
    return not ready and not getattr(handed_over, "fingerprint", None)


def _check_same_weights(config: DistillConfig, teacher: Any) -> None:
    """A run folder does not name a model object, so a resumed run is held to the weights that it recorded."""
    folder = run_path(config)
    known = (read_part(folder, "record.json") or {}).get("teacher", {}).get("fingerprint")
    if known is not None and known != (getattr(teacher, "fingerprint", None) or model_fingerprint(teacher)):
        raise InputError(f"run_dir {folder}: holds a run of a teacher with other weights; choose another folder")


def _options(config: DistillConfig | str | None, options: dict[str, Any]) -> tuple[DistillConfig, list[str]]:
    """A configuration with options by keyword, which have the names of its fields."""
    if isinstance(options.get("label_map"), Mapping):
        options = {**options, "label_map": ",".join(f"{own}={label}" for own, label in options["label_map"].items())}
    objects = {name: value for name, value in options.items() if isinstance(value, torch.nn.Module | Task)}
    problems = [f"{name}: expected a name or a path, found a {type(value).__name__}" for name, value in objects.items()]
    options = {name: value for name, value in options.items() if name not in objects}
    if isinstance(config, DistillConfig):
        held = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
        made, found = resolve(DistillConfig, None, {**held, **options})
    else:
        made, found = resolve(DistillConfig, config if config is None else str(config), options)
    return made, problems + [problem.removeprefix("flag: ") for problem in found]


def _argument_problems(
    config: DistillConfig, teacher: Any, task: Any, labels: Any, texts: Any, corpus: Any
) -> list[str]:
    """What is missing, or none of the things that can stand there."""
    problems = []
    if not isinstance(task, Task | str | os.PathLike | None):
        problems.append(
            f"task: expected a zskd.Task, the name of a preset ({', '.join(TASKS)}) or a task file, found {task!r}"
        )
    if task is None and labels is None and not config.task:
        problems.append(
            'labels: expected the label names, such as ["negative", "positive"], or a `task`; found neither'
        )
    if texts is None and corpus is None and not config.corpus:
        problems.append("texts: expected texts that have nothing to do with the task, or a `corpus`; found neither")
    if teacher is None and labels is not None and config.teacher == "default":
        problems.append("teacher: expected a model, a folder, a Hub id or a callable, found none")
    other_module = isinstance(teacher, torch.nn.Module) and not isinstance(teacher, PreTrainedModel)
    if other_module or not (teacher is None or isinstance(teacher, str | Teacher) or callable(teacher)):
        problems.append(
            f"teacher: expected a transformers model, a folder, a Hub id or a callable that turns texts into logits, "
            f"found a {type(teacher).__name__}"
        )
    return problems


def _has_two_texts(task: Task | str | Path | None, config: DistillConfig) -> bool | None:
    """Whether an input of the task has two texts; None where only the inputs say so."""
    if task is None and not config.task:
        return None
    return (task if isinstance(task, Task) else find_task(str(task or config.task))).is_pair


def _named(
    config: DistillConfig,
    teacher: AnyTeacher | None,
    task: Task | str | Path | None,
    labels: Sequence[str] | None,
    corpus: Sequence[str | Path] | str | Path | None,
    run_dir: str | Path | None,
    *,
    two: bool,
) -> dict[str, Any]:
    """Options that correspond to the named arguments of `make_request`."""
    found: dict[str, Any] = {}
    if labels is not None:
        if task is not None or config.task:
            raise InputError("labels: a task has its own labels; give either `task` or `labels`")
        names = [] if isinstance(labels, str) else [str(label) for label in labels]
        if len(set(names)) < max(2, len(names)):
            raise InputError(f"labels: expected at least two different names, found {labels!r}")
        columns = ("text", "text_b") if two else ("text",)
        task = Task(name="classification", text_columns=columns, label_column="label", labels=tuple(names))
    if isinstance(task, Task):
        found["task"] = _task_name(task, cache_root(config.cache_dir))
    elif task is not None:
        found["task"] = str(task)
    if isinstance(teacher, str):
        found["teacher"] = teacher
    if corpus is not None:
        found["corpus"] = [str(corpus)] if isinstance(corpus, str | os.PathLike) else [str(source) for source in corpus]
    if run_dir is not None:
        found["output_dir"] = str(run_dir)
    elif config.output_dir is None and not config.task:
        found["output_dir"] = tempfile.mkdtemp(prefix="zskd-run-")
        logger.info("run folder: %s (name one with run_dir)", found["output_dir"])
    return found


def _task_name(task: Task, cache: Path) -> str:
    """The name of a preset, or the path of a task file that holds the task."""
    if TASKS.get(task.name) == task:
        return task.name
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(task).items() if v}
    if problems := task_problems(values):
        raise InputError([f"task: {problem}" for problem in problems])
    text = yaml.safe_dump(values, sort_keys=False)
    path = cache / "tasks" / hashlib.sha256(text.encode()).hexdigest()[:16] / f"{task.name}.yaml"
    keep_content(path, text)
    return str(path)
