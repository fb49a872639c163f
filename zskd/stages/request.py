"""From what a caller has in hand (objects, lists, a data set) to the options of a run."""

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

MIN_TEXTS = 100  # that are handed over as a list
HELD_OUT = 0.2  # share of pairs that are handed over; half of it chooses the checkpoint, half reports agreement
FAMILY = "given"  # of inputs that are handed over

Inputs: TypeAlias = Sequence[str] | Sequence[tuple[str, str]] | Dataset


@dataclass(frozen=True)
class Request:
    """What a run is asked for.

    Attributes:
        config: checked, the task's defaults filled in.
        teacher: an object in place of ``config.teacher``; None for that.
        tokenizer: of a model object.
        pools: inputs in place of those shaped from the corpus; None for these.
        least: sentences that the corpus has to have; None for as many as any corpus.
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
        InputError: whatever can be found wrong before a weight is loaded; all of it together.
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
    """A configuration with options by keyword, which have the names of its fields."""
    if isinstance(config, DistillConfig):
        held = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
        return resolve(DistillConfig, None, {**held, **options}) if options else (config, [])
    return resolve(DistillConfig, config, options)


def _has_two_texts(task: Task | str | None, config: DistillConfig) -> bool | None:
    """Whether an input of the task has two texts; None where only the inputs say so."""
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
    """Options that stand for the arguments that have names of their own."""
    found: dict[str, Any] = {}
    if labels is not None:
        if task is not None or config.task:
            raise InputError("labels: a task has its own labels; give either `task` or `labels`")
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
        InputError: fewer than `MIN_TEXTS`, something that is no text, or another number of texts than the task's.
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
    """The texts as a file of the cache, which a run's record can name and a resumed run finds again."""
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
    """Pairs as they are, in place of shaped ones: those held out are chosen by a hash of the first text.

    Raises:
        InputError: perturbation was asked for, or too few are left.
    """
    if given not in (None, "none"):
        raise InputError(
            f"perturb {given}: pairs that are handed over are used as they are; leave it out, or give a corpus"
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
        raise InputError(f"texts: expected more different pairs, found {len(distinct)}; {MIN_ROWS} have to be left")
    logger.info(
        "texts: %d pairs, %d of them repeated; %d to learn from, held out %d to choose the checkpoint and %d to report",
        len(columns[0]),
        len(columns[0]) - len(distinct),
        *(len(sets[name]) for name in ("transfer", "select", "report")),
    )
    fingerprint = hashlib.sha256(json.dumps(distinct).encode()).hexdigest()
    return replace(config, perturb="none", pool_size=len(sets["transfer"])), Pools(fingerprint=fingerprint, **sets)
