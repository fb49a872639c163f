"""Loading a teacher from a name, a model in memory, or a callable."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TypeAlias

from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.config.resolve import cache_root
from zskd.errors import InputError
from zskd.hub.ask import is_callable_name
from zskd.models.labels import parse_label_map
from zskd.models.loading import Origin
from zskd.models.tokenizers import load_tokenizer
from zskd.tasks.task import Task
from zskd.teacher.asking import RETRIES
from zskd.teacher.base import Teacher
from zskd.teacher.blackbox import Ask, load_black_box
from zskd.teacher.classifier import Classifier, check_fit, classifier_from, load_classifier, pick_device

logger = logging.getLogger(__name__)

AnyTeacher: TypeAlias = str | Ask | PreTrainedModel | Teacher


def load_teacher(
    task: Task,
    teacher: AnyTeacher | Path,
    cache: Path | None = None,
    revision: str | None = None,
    label_map: str | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    outputs: str = "logits",
    retries: int = RETRIES,
    identified: bool = False,
    flag: str = "--teacher",
) -> Teacher:
    """The teacher, or any model to be scored, frozen and on the device where models run.

    Args:
        task: whose labels and texts are meant.
        teacher: a name that `zskd.teacher.classifier.load_classifier` takes; a model object, which is used as it is,
            frozen and not copied; a callable or ``module:function`` (see `zskd.teacher.blackbox.load_black_box`); or a
            teacher that is ready and comes back as it is.
        cache: zskd's cache folder; default: ``$ZSKD_CACHE`` or ``~/.cache/zskd``.
        revision: commit or tag of a Hub teacher.
        label_map: which of the model's labels is which of the task's: ``LABEL_0=negative,LABEL_1=positive``.
        tokenizer: of a model object; default: the one in the local folder that the model was loaded from.
        outputs: what a callable answers with: ``logits``, ``probabilities`` or ``labels``.
        retries: how often a callable is asked again when it fails, after 1, 2, 4, ... seconds.
        identified: see `zskd.teacher.blackbox.load_black_box`.
        flag: how messages name the model.

    Raises:
        InputError: it cannot be loaded, its labels are not the task's, or an argument is given that it has no use for.

    Example:
        >>> import zskd
        >>> def ask(texts):
        ...     return ["positive" if "fine" in text else "negative" for text in texts]
        >>> teacher = zskd.load_teacher(zskd.TASKS["sst2"], ask, outputs="labels")
        >>> teacher.logits((["a fine film", "a dull film"],), max_length=32).argmax(axis=1).tolist()
        [1, 0]
    """
    if isinstance(teacher, os.PathLike):
        teacher = os.fspath(teacher)
    if isinstance(teacher, PreTrainedModel):
        found: Teacher = _from_model(task, teacher, tokenizer, label_map, flag)
    elif tokenizer is not None:
        raise InputError("tokenizer: expected a model object as teacher beside it, found something else; leave it out")
    elif isinstance(teacher, Teacher):
        if label_map:
            raise InputError(f"--label-map {label_map}: a teacher that is ready has its labels; leave it out")
        if teacher.num_labels != task.num_labels:
            raise InputError(
                f"{flag} {teacher.name}: expected {task.num_labels} classes ({', '.join(task.labels)}), found "
                f"{teacher.num_labels}"
            )
        found = teacher
    elif not isinstance(teacher, str) or is_callable_name(teacher):
        found = load_black_box(
            task, teacher, cache, label_map=label_map, outputs=outputs, retries=retries,
            identified=identified, flag=flag,
        )  # fmt: skip
        logger.info("%s: known by its outputs alone", found.name)
        return found
    else:
        cache = cache or cache_root(None)
        found = load_classifier(task, teacher, cache, revision=revision, label_map=label_map, flag=flag)
    if outputs not in ("logits", found.outputs):
        raise InputError(
            f"--teacher-outputs {outputs}: expected a callable teacher, which alone answers with anything but logits; "
            f"found {found.name}"
        )
    if isinstance(found, Classifier):
        found.model.to(pick_device())
        logger.info("%s: %s parameters", found.name, f"{found.parameters:,}")
    return found


def shows_weights(teacher: AnyTeacher) -> bool:
    """Whether a teacher will have weights in this process, known before it is loaded; a callable has none."""
    if isinstance(teacher, Teacher):
        return teacher.device_type is not None
    return isinstance(teacher, PreTrainedModel) or (isinstance(teacher, str) and not is_callable_name(teacher))


def _from_model(
    task: Task, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, label_map: str | None, flag: str
) -> Classifier:
    name = model.name_or_path or type(model).__name__
    shown = f"{flag} {name}"
    if tokenizer is None:
        if not model.name_or_path or not Path(model.name_or_path).is_dir():
            raise InputError(f"{shown}: expected its tokenizer beside a model object; pass tokenizer=")
        tokenizer = load_tokenizer(Origin(model.name_or_path), flag=flag)
    check_fit(model, tokenizer, shown=shown)
    mapping = parse_label_map(label_map) if label_map else None
    return classifier_from(task, model, tokenizer, name=name, label_map=mapping, shown=shown)
