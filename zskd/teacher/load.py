"""Loading whatever the user calls a teacher: a model with weights, or a callable."""

from __future__ import annotations

import logging
from pathlib import Path

from zskd.config.resolve import cache_root
from zskd.hub.ask import is_callable_name
from zskd.tasks.task import Task
from zskd.teacher.blackbox import Ask, BlackBox, load_black_box
from zskd.teacher.classifier import Classifier, load_classifier, pick_device

logger = logging.getLogger(__name__)


def load_teacher(
    task: Task,
    teacher: str | Ask,
    cache: Path | None = None,
    revision: str | None = None,
    label_map: str | None = None,
    *,
    flag: str = "--teacher",
) -> Classifier | BlackBox:
    """The teacher, or any model to be scored, frozen and on the device where models run.

    Args:
        teacher: a callable, ``module:function``, or what `zskd.teacher.classifier.load_classifier` takes.
        cache: zskd's cache folder; default: ``$ZSKD_CACHE`` or ``~/.cache/zskd``.

    Raises:
        InputError: it cannot be loaded, or its labels are not the task's.
    """
    if not isinstance(teacher, str) or is_callable_name(teacher):
        box = load_black_box(task, teacher, label_map=label_map, flag=flag)
        logger.info("%s: known by its outputs alone", box.name)
        return box
    cache = cache or cache_root(None)
    classifier = load_classifier(task, teacher, cache, revision=revision, label_map=label_map, flag=flag)
    classifier.model.to(pick_device())
    logger.info("%s: %s parameters", classifier.name, f"{classifier.parameters:,}")
    return classifier
