"""A classifier's ``config.json``: label names, which are matched by name and never by position, and number of texts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zskd.errors import InputError
from zskd.tasks.task import Task

if TYPE_CHECKING:  # the library is slow to import, and `zskd validate` does without it
    from transformers import PretrainedConfig

# Fields of config.json for the number of texts of an input, and for the tokens to which inputs were cut in training;
# transformers has no fields for them.
TEXTS_FIELD = "zskd_texts"
LENGTH_FIELD = "zskd_max_length"


def plain_name(name: str) -> str:
    """Normalise a label name for comparison: case, spaces and hyphens do not matter."""
    return re.sub(r"[\s\-]+", "_", str(name).strip().lower())


def parse_label_map(text: str) -> dict[str, str]:
    """``LABEL_0=negative,LABEL_1=positive`` -> {"LABEL_0": "negative", ...}.

    Raises:
        InputError: a part without ``=``, or a name given twice.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not pairs or any(not equals or not left.strip() or not right.strip() for left, equals, right in pairs):
        raise InputError(f"--label-map {text}: expected MODEL_LABEL=task_label,..., for example LABEL_0=negative")
    mapping = {left.strip(): right.strip() for left, _, right in pairs}
    if len(mapping) < len(pairs) or len(set(mapping.values())) < len(pairs):
        raise InputError(f"--label-map {text}: expected every label once on each side")
    return mapping


def record_texts(config: PretrainedConfig, task: Task) -> None:
    """Record in a configuration how many texts the task's inputs have."""
    config.update({TEXTS_FIELD: len(task.text_columns)})


def recorded_texts(config: dict[str, Any], shown: str) -> int | None:
    """Number of texts of an input, from the content of a ``config.json``; None if it is not recorded.

    Raises:
        InputError: the recorded value is not 1 or 2.
    """
    texts: int | None = config.get(TEXTS_FIELD)
    if texts not in (None, 1, 2):
        raise InputError(
            f"{shown}: expected {TEXTS_FIELD} 1 or 2 in its config.json, found {texts!r}; correct it there"
        )
    return texts


def recorded_length(config: dict[str, Any], shown: str) -> int | None:
    """Tokens to which a model's inputs were cut in training, from its ``config.json``; None if it is not recorded.

    Raises:
        InputError: the recorded value is no number of tokens.
    """
    length: int | None = config.get(LENGTH_FIELD)
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise InputError(
            f"{shown}: expected a number of tokens as {LENGTH_FIELD} in its config.json, found {length!r}; correct it "
            "there, or remove it"
        )
    return length


def label_names(config: dict[str, Any]) -> list[str]:
    """Label names of a model in class order, from the content of its ``config.json``."""
    id2label = config.get("id2label")
    if not id2label:
        return [f"LABEL_{i}" for i in range(int(config.get("num_labels", 2)))]
    try:
        return [str(id2label[key]) for key in sorted(id2label, key=int)]
    except (TypeError, ValueError) as error:
        raise InputError(f"id2label: expected class numbers as keys, found {id2label!r}") from error


def align_labels(task: Task, names: list[str], label_map: dict[str, str] | None, *, flag: str) -> list[int]:
    """For each task label, the index of the model's class with that name.

    Args:
        names: the model's label names in class order.
        label_map: model label name -> task label name, applied first; names that are not in it stay.
        flag: flag and value to quote in messages.

    Raises:
        InputError: the number of labels differs, or the names are not the task's.
    """
    if len(names) != task.num_labels:
        raise InputError(
            f"{flag}: expected {task.num_labels} labels for {task.name} ({', '.join(task.labels)}), "
            f"found {len(names)} ({', '.join(names)})"
        )
    if label_map and (unknown := sorted(set(label_map) - set(names))):
        raise InputError(f"--label-map: the model has no label {', '.join(unknown)}; it has {', '.join(names)}")
    mapped = [plain_name((label_map or {}).get(name, name)) for name in names]
    if sorted(mapped) != sorted(plain_name(name) for name in task.labels):
        example = ",".join(f"{name}={label}" for name, label in zip(names, task.labels, strict=True))
        raise InputError(
            f"{flag}: expected the labels {', '.join(task.labels)}, found {', '.join(names)}; say which is which, "
            f"for example --label-map {example}"
        )
    return [mapped.index(plain_name(name)) for name in task.labels]


def read_model_config(folder: Path, *, flag: str) -> dict[str, Any]:
    """Content of ``config.json`` in a local model folder.

    Raises:
        InputError: no such folder, no ``config.json``, or one that is not JSON.
    """
    if not folder.is_dir():
        raise InputError(f"{flag} {folder}: expected a model folder, found none")
    path = folder / "config.json"
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{flag} {folder}: expected a config.json in it, found none") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: expected JSON, found: {error}") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: expected a JSON object, found a {type(loaded).__name__}")
    return loaded
