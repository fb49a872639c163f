"""What is wrong with the content of a task file. `zskd.tasks.task.read_task` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zskd.config.limits import LENGTHS
from zskd.system.paths import name_problem
from zskd.system.plain_text import NOT_IN_A_LINE
from zskd.system.yaml_text import brief, unknown_keys

INPUT_KINDS = ("text", "question", "passage")
METRICS = ("accuracy", "f1")
LONGEST_TASK_NAME = 100  # bytes of a task's name, which is part of names of folders
LONGEST_TEXT = 1_000  # characters of a label or column
MOST_SHOWN = 10  # labels of a list

_SHAPES: dict[str, tuple[type[Any], str]] = {
    "tuple": (list, "a list"),
    "dict": (dict, "a mapping"),
    "str": (str, "text"),
    "int": (int, "a number"),
}
_PATHS = ("folder", "teacher", "student", "probe")


def file_problems(values: dict[Any, Any], kinds: Mapping[str, str]) -> list[str]:
    """Messages about unknown and missing keys and wrong values, each beginning with the key.

    Args:
        values: the file's content.
        kinds: known key -> its type as an annotation, such as ``tuple[str, ...]``.
    """
    return _key_problems(values, kinds) or _column_problems(values) + _label_problems(values)


def _key_problems(values: dict[Any, Any], kinds: Mapping[str, str]) -> list[str]:
    """Unknown and missing keys, and values of another kind than expected."""
    problems = [f"unknown key {line}" for line in unknown_keys([key for key in values if key not in kinds], kinds)]
    for key, value in values.items():
        if key in kinds and (problem := _value_problem(key, value, kinds[key].partition("[")[0])):
            problems.append(f"{key}: {problem}")
    missing = [key for key in ("text_columns", "label_column", "labels") if not values.get(key)]
    return problems + [f"{key}: expected a value, found none" for key in missing]


def _value_problem(key: str, value: Any, kind: str) -> str | None:
    cls, words = _SHAPES[kind]
    if not isinstance(value, cls) or isinstance(value, bool):
        return f"expected {words}, found {brief(value)}"
    if isinstance(value, int):
        return None
    texts: list[Any] = [part for pair in value.items() for part in pair] if isinstance(value, dict) else value
    texts = [value] if isinstance(value, str) else texts
    if not all(map(_is_text, texts)):
        return f"expected text, found {brief(value)}; put yes and no into quotes"
    if key == "name":
        return _name_problem(value)
    for text in map(str, texts):
        if key in _PATHS and (problem := name_problem(text)):
            return problem
        if not text.strip() and key not in (*_PATHS, "hub_config"):
            return f"expected text, found {brief(text)}"
        if len(text) > LONGEST_TEXT and key not in _PATHS:
            return f"expected at most {LONGEST_TEXT:,} characters, found {len(text):,}: {brief(text)}"
        if NOT_IN_A_LINE.search(text):
            return f"expected text without tabs, line breaks and other control characters, found {brief(text)}"
    return None


def _is_text(value: Any) -> bool:
    """A text, or a number that stands for one; Python writes no number of more than 4,300 digits."""
    if isinstance(value, int):
        return not isinstance(value, bool) and value.bit_length() < 1_000
    return isinstance(value, str | float)


def _name_problem(name: str) -> str | None:
    wrong = name.strip() in ("", ".", "..") or "/" in name or NOT_IN_A_LINE.search(name)
    if wrong or len(name.encode()) > LONGEST_TASK_NAME:
        return f"expected a name of at most {LONGEST_TASK_NAME} bytes for folders, found {brief(name)}"
    return None


def _column_problems(values: dict[str, Any]) -> list[str]:
    problems = []
    columns = values["text_columns"]
    if len(columns) not in (1, 2):
        problems.append(f"text_columns: expected one or two column names, found {len(columns)}")
    if len(set(map(str, columns))) < len(columns):
        problems.append(f"text_columns: expected two different columns, found {columns[0]} twice")
    if values["label_column"] in map(str, columns):
        problems.append(f"label_column: expected another column than the texts', found {brief(values['label_column'])}")
    inputs = values.get("inputs", ["text"] * len(columns))
    if len(inputs) != len(columns) or not set(inputs) <= set(INPUT_KINDS):
        problems.append(f"inputs: expected one of {', '.join(INPUT_KINDS)} for each text column, found {brief(inputs)}")
    least, most = LENGTHS
    if not least <= (length := values.get("max_length", least)) <= most:
        problems.append(f"max_length: expected at least {least} tokens and at most {most}, found {brief(length)}")
    if "dev_files" in values and not values["dev_files"]:
        problems.append("dev_files: expected at least one file, found none")
    return problems


def _label_problems(values: dict[str, Any]) -> list[str]:
    problems = []
    labels = [str(label) for label in values["labels"]]
    if len(labels) < 2 or len(set(labels)) < len(labels):
        problems.append(f"labels: expected at least two, each once, found {_some(labels)}")
    metrics = values.get("metrics", ["accuracy"])
    if not metrics or metrics[0] != "accuracy" or not set(metrics) <= set(METRICS):
        problems.append(f"metrics: expected accuracy, or accuracy and f1, found {brief(metrics)}")
    elif "f1" in metrics and len(labels) != 2:
        problems.append("metrics: f1 is that of the second of two labels; leave it out")
    for key in ("file_labels", "teacher_labels"):
        found = [str(value) for value in values.get(key, {}).values()]
        if found and not set(labels) <= set(found) <= set(labels):
            problems.append(f"{key}: expected all of {_some(labels)} as values, found {_some(found)}")
    return problems


def _some(labels: list[str]) -> str:
    """The labels, or the first of them and their number."""
    shown = [label if len(label) <= 80 else f"{label[:80]}..." for label in labels[:MOST_SHOWN]]
    return ", ".join(shown) + (f", ... ({len(labels):,} in all)" if len(labels) > MOST_SHOWN else "")
