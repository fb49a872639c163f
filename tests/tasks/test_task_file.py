"""What is wrong with a task file, key by key; `tests/tasks/test_task.py` has the files that are right."""

from __future__ import annotations

from typing import Any

import pytest

from zskd.tasks.task import task_problems

GOOD: dict[str, Any] = {"text_columns": ["mail"], "label_column": "desk", "labels": ["billing", "sales"]}

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "x" * 101}, "name: expected a name of at most 100 bytes for folders, found 'xxx"),
    ({"name": "../up"}, "name: expected a name of at most 100 bytes for folders, found '../up'"),
    ({"name": ""}, "name: expected a name of at most 100 bytes for folders, found ''"),
    ({"name": None}, "name: expected text, found None"),
    ({"max_length": True}, "max_length: expected a number, found True"),
    ({"max_length": 513}, "max_length: expected at least 8 tokens and at most 512, found 513"),
    (
        {"max_length": 10**5_000},
        "max_length: expected at least 8 tokens and at most 512, found a number of",
    ),
    ({"labels": ["a\nb", "c"]}, "labels: expected text without tabs, line breaks and other control characters"),
    ({"labels": ["a\x1b[2J", "c"]}, "labels: expected text without tabs, line breaks and other control characters"),
    ({"labels": ["a", " "]}, "labels: expected text, found ' '"),
    ({"labels": ["a", None]}, "labels: expected text, found ['a', None]; put yes and no into quotes"),
    ({"labels": ["a", 16**2_000]}, "labels: expected text, found ['a', a number of 8,001 bits]"),
    ({"labels": ["x" * 10**6, "b"]}, "labels: expected at most 1,000 characters, found 1,000,000: 'xxx"),
    ({"labels": 3_000_000_000}, "labels: expected a list, found 3000000000"),
    (
        {"labels": ["a"] * 9_000},
        "labels: expected at least two, each once, found a, a, a, a, a, a, a",
    ),
    ({"text_columns": ["a\tb"]}, "text_columns: expected text without tabs"),
    ({"label_column": "a\0b"}, "label_column: expected text without tabs"),
    ({"file_labels": {"0": ["billing"], "1": "sales"}}, "file_labels: expected text, found {"),
    ({"file_labels": {True: "billing", False: "sales"}}, "file_labels: expected text, found {"),
    ({"probe": "x" * 300}, "probe: expected names of at most 255 bytes, found one of 300: 'xxx"),
    ({"teacher": "a\0b"}, "teacher: expected text without NUL, found 'a\\x00b'"),
    ({"student": "\ud800"}, "student: expected UTF-8 text, found other bytes in '\\ud800'"),
    ({"labell": "x"}, "unknown key 'labell'; did you mean 'labels'?"),
    ({10**5_000: 1}, "unknown key a number of 16,610 bits; known: name, "),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=[said[:40] for _, said in WRONG])
def test_a_wrong_value_is_one_short_message_with_its_key(changes: dict[str, Any], said: str) -> None:
    assert task_problems(GOOD) == []
    (problem,) = task_problems({**GOOD, **changes})
    assert problem.startswith(said) and len(problem) < 400


def test_many_unknown_keys_are_counted() -> None:
    problems = task_problems({**GOOD, **{f"no{i}": i for i in range(5_000)}})
    assert len(problems) == 11 and problems[-1] == "unknown key and 4,990 more"
