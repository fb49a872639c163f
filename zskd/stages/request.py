"""Turn the arguments of `zskd.distill` (objects, lists, a data set) into the options of a run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import yaml
from datasets import Dataset
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.checks import check
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import cache_root, resolve
from zskd.errors import InputError
from zskd.system.files import write_text
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.task import TASKS, Task, find_task
from zskd.teacher.classifier import Classifier
from zskd.teacher.load import AnyTeacher
from zskd.text.shaping import Pools, split_documents
from zskd.transfer.transfer_set import MIN_ROWS

logger = logging.getLogger(__name__)

MIN_TEXTS = 100  # smallest list of texts that is accepted
HELD_OUT = 0.2  # share of the given pairs that is held out: half selects the checkpoint, half reports agreement
FAMILY = "given"  # family name of pairs that the caller gives

Inputs: TypeAlias = Sequence[str] | Sequence[tuple[str, str]] | Dataset


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
    teacher: AnyTeacher | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    task: Task | str | None = None,
    labels: Sequence[str] | None = None,
    texts: Inputs | None = None,
    corpus: Sequence[str] | str | None = None,
    run_dir: str | Path | None = None,
    pools: Pools | None = None,
    **options: Any,
) -> Request:
    """See `zskd.pipeline.distill`.

    Raises:
        InputError: everything that can be found wrong before weights are loaded, in one error.
    """
    made, problems = _options(config, options)
    if problems:
        raise InputError(problems)
    pairs = None
    if texts is not None:
        columns = _columns(texts, two=_has_two_texts(task, made))
        pairs = columns if len(columns) == 2 else None
    made = replace(made, **_named(made, teacher, task, labels, corpus, run_dir, two=pairs is not None))
    cache, least = cache_root(made.cache_dir), None
    if texts is not None:
        least = MIN_TEXTS
        made = replace(made, corpus=[str(_keep_texts(columns, cache)), *([] if corpus is None else made.corpus)])
    if pairs is not None:
        made, pools = _with_pairs(made, pairs, given=options.get("perturb"))
    made = with_task_defaults(made)
    handed_over = None if isinstance(teacher, str) else teacher
    shows_weights = isinstance(handed_over, PreTrainedModel | Classifier)
    given = handed_over is not None
    if problems := check(made, black_box=given and not shows_weights, model=shows_weights):
        raise InputError(problems)
    return Request(made, handed_over, tokenizer, pools, least)


def _options(config: DistillConfig | str | None, options: dict[str, Any]) -> tuple[DistillConfig, list[str]]:
    """A configuration, with keyword options merged in. Returns it with the problems found."""
    if isinstance(config, DistillConfig):
        held = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
        return resolve(DistillConfig, None, {**held, **options}) if options else (config, [])
    return resolve(DistillConfig, config, options)


def _has_two_texts(task: Task | str | None, config: DistillConfig) -> bool | None:
    """Whether an input of the task has two texts; None if no task is known yet."""
    if task is None and not config.task:
        return None
    return (task if isinstance(task, Task) else find_task(task or config.task)).is_pair


def _named(
    config: DistillConfig,
    teacher: AnyTeacher | None,
    task: Task | str | None,
    labels: Sequence[str] | None,
    corpus: Sequence[str] | str | None,
    run_dir: str | Path | None,
    *,
    two: bool,
) -> dict[str, Any]:
    """Options that correspond to the named arguments of `make_request`."""
    found: dict[str, Any] = {}
    if labels is not None:
        if task is not None or config.task:
            raise InputError("labels: a task already has labels; give either `task` or `labels`")
        if isinstance(labels, str) or len(set(labels)) < 2 or len(set(labels)) < len(labels):
            raise InputError(f"labels: expected at least two different names, found {labels!r}")
        columns = ("text", "text_b") if two else ("text",)
        task = Task(name="classification", text_columns=columns, label_column="label", labels=tuple(labels))
    if isinstance(task, Task):
        found["task"] = _task_name(task, cache_root(config.cache_dir))
    elif task is not None:
        found["task"] = task
    if isinstance(teacher, str):
        found["teacher"] = teacher
    if corpus is not None:
        found["corpus"] = [corpus] if isinstance(corpus, str) else [str(source) for source in corpus]
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
    text = yaml.safe_dump(values, sort_keys=False)
    path = cache / "tasks" / hashlib.sha256(text.encode()).hexdigest()[:16] / f"{task.name}.yaml"
    if not path.is_file():
        write_text(path, text)
    return str(path)


def _columns(texts: Inputs, two: bool | None) -> tuple[list[str], ...]:
    """One or two lists of texts.

    Raises:
        InputError: there are fewer than `MIN_TEXTS`, an entry is not text, or the task has another number of texts.
    """
    if isinstance(texts, str):
        raise InputError("texts: expected a list of texts, found one text; give files as `corpus`")
    if isinstance(texts, Dataset):
        names = [name for name in ("text", "text_b") if name in texts.column_names]
        if "text" not in names:
            raise InputError(
                f"texts: expected a column `text`, for pairs also `text_b`, found {', '.join(texts.column_names)}; "
                "rename them with `rename_column`"
            )
        found: tuple[list[Any], ...] = tuple(list(texts[name][:]) for name in names)
    else:
        rows = list(texts)
        widths = {1 if isinstance(row, str) else len(row) if isinstance(row, list | tuple) else 0 for row in rows}
        if len(widths) > 1 or not widths <= {1, 2}:
            raise InputError("texts: expected texts, or pairs of two texts, found rows of several kinds")
        found = tuple(list(column) for column in zip(*rows, strict=True)) if widths == {2} else (rows,)
    for column in found:
        wrong = next((i for i, text in enumerate(column) if not isinstance(text, str) or not text.strip()), None)
        if wrong is not None:
            raise InputError(f"texts, row {wrong}: expected text, found {column[wrong]!r}")
    if len(found[0]) < MIN_TEXTS:
        raise InputError(f"texts: expected at least {MIN_TEXTS}, found {len(found[0])}; add text, or give a corpus")
    if two is False and len(found) == 2:
        raise InputError("texts: expected one text a row, found pairs; the task reads one text")
    return found


def _keep_texts(columns: tuple[list[str], ...], cache: Path) -> Path:
    """Write the texts to a file in the cache, so that the run's record can name it and a resumed run finds it."""
    names = ("text", "text_b")
    lines = [json.dumps(dict(zip(names, row, strict=False))) for row in zip(*columns, strict=True)]
    content = "\n".join(lines) + "\n"
    path = cache / "texts" / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.jsonl"
    if not path.is_file():
        write_text(path, content)
    return path


def _with_pairs(
    config: DistillConfig, columns: tuple[list[str], ...], given: str | None
) -> tuple[DistillConfig, Pools]:
    """Use the given pairs as they are. A hash of the first text decides which pairs are held out.

    Raises:
        InputError: perturbation was asked for, or there are too few distinct pairs.
    """
    if given not in (None, "none"):
        raise InputError(
            f"perturb {given}: given pairs are used as they are; leave perturb out, or give a corpus instead"
        )
    distinct = list(dict.fromkeys(zip(*columns, strict=True)))
    documents = np.array(
        [int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest(), "little") for one, _ in distinct],
        dtype=np.uint64,
    )
    parts = split_documents(documents, HELD_OUT)
    sets = {
        name: Dataset.from_dict(
            {
                "text": [one for (one, _), at in zip(distinct, parts, strict=True) if at == number],
                "text_b": [other for (_, other), at in zip(distinct, parts, strict=True) if at == number],
                "family": [FAMILY] * int((parts == number).sum()),
            }
        )
        for number, name in enumerate(("transfer", "select", "report"))
    }
    if len(sets["transfer"]) < MIN_ROWS or not len(sets["select"]) or not len(sets["report"]):
        raise InputError(
            f"texts: expected at least {MIN_ROWS} different pairs beside those held out, found {len(distinct)} in all"
        )
    logger.info(
        "texts: %d pairs (%d repeated); %d to learn from, %d held out to choose the checkpoint, %d held out to report",
        len(columns[0]),
        len(columns[0]) - len(distinct),
        *(len(sets[name]) for name in ("transfer", "select", "report")),
    )
    fingerprint = hashlib.sha256(json.dumps(distinct).encode()).hexdigest()
    return replace(config, perturb="none", pool_size=len(sets["transfer"])), Pools(fingerprint=fingerprint, **sets)
