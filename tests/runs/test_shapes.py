"""The files of a run are what zskd writes, down to their innermost values, or the reader names file and value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zskd.errors import InputError
from zskd.report.data import load_runs
from zskd.runs.read import read_part
from zskd.runs.shapes import wrong_part


def changed(found: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The content with another value at a place; without it where the value is `...`."""
    whole = json.loads(json.dumps(found))
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return whole


@pytest.mark.parametrize(
    ("name", "path", "value", "says"),
    [
        ("transfer_set.json", ("groups", 0, "share"), "half", "'half' as groups[0].share"),
        ("transfer_set.json", ("groups", 0, "rows"), [1], "a list as groups[0].rows"),
        ("transfer_set.json", ("groups", 1), None, "a NoneType as groups[1]"),
        ("transfer_set.json", ("groups",), {}, "a dict as groups"),
        ("transfer_set.json", ("entropy_limit",), ..., "no entropy_limit"),
        ("transfer_set.json", ("groups", 0, "label"), "most", "no group of all"),
        (
            "metrics.json",
            ("student", "scores", "probe", "accuracy"),
            float("nan"),
            "nan as student.scores.probe.accura",
        ),
        ("metrics.json", ("retention", "probe"), ..., "no retention.probe"),
        ("metrics.json", ("steps",), True, "True as steps"),
        ("metrics.json", ("seconds", "total"), "1", "'1' as seconds.total"),
        ("analysis.json", ("heldout", "confusion", 0), [1], "another size than 2 by 2 as heldout.confusion"),
        ("analysis.json", ("labels",), "ab", "a str as labels"),
        ("record.json", ("corpus", "sources"), ["a"], "a list as corpus.sources"),
        ("history.json", (0, "step"), 10**400, "as [0].step"),
        ("calls.json", (0, "seconds"), 3, "a int as [0].seconds"),
        ("calls.json", (0, "began"), "yesterday", "'yesterday' as [0].began"),
        ("calls.json", (0, "began"), "2026-01-01T00:00:00", "as [0].began"),
        ("calls.json", (0, "began"), "0001-01-01T00:00:00+14:00", "as [0].began"),
        ("calls.json", (0, "began"), 2026, "2026 as [0].began"),
        ("record.json", ("processor",), None, "None as processor"),
        ("record.json", ("machine", "threads"), "two", "'two' as machine.threads"),
        ("disagreements.json", (0, "texts"), "a text", "a str as [0].texts"),
        ("disagreements.json", (0, "divergence"), float("inf"), "inf as [0].divergence"),
        ("disagreements.json", (0, "student"), [1.0], "2 values as [0].teacher, 1 as [0].student"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_and_place(
    published_run: Path, tmp_path: Path, name: str, path: tuple[Any, ...], value: Any, says: str
) -> None:
    found = json.loads((published_run / name).read_text(encoding="utf-8"))
    assert wrong_part(name, found) is None
    (tmp_path / name).write_text(json.dumps(changed(found, path, value)), encoding="utf-8")
    with pytest.raises(InputError, match=f"{name}: expected .*, found ") as raised:
        read_part(tmp_path, name, type(found))
    assert says in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("overlaps",), [], "no grid.overlaps"),
        (("cells", 0, "classes"), {}, "no classes, as grid.cells[0]"),
        (("cells", 0, "cosine"), 7, "a place outside of the grid"),
        (("cells", 0, "overlap"), -1, "a place outside of the grid"),
        (("pairs",), ..., "no grid.pairs"),
    ],
)
def test_a_damaged_grid_is_named(published_run: Path, path: tuple[Any, ...], value: Any, says: str) -> None:
    found = json.loads((published_run / "transfer_set.json").read_text(encoding="utf-8"))
    cell = {"overlap": 0, "cosine": 0, "share": 1.0, "classes": {"negative": 0.5, "positive": 0.5}}
    found["grid"] = {
        "encoder": "minilm-l6", "pairs": 40, "apart_and_alike": 0.0,
        "overlaps": [1.0], "cosines": [1.0], "cells": [cell],
    }  # fmt: skip
    assert wrong_part("transfer_set.json", found) is None
    assert says in str(wrong_part("transfer_set.json", changed(found, ("grid", *path), value)))


def test_options_of_a_wrong_type_are_named(run_copy: Path) -> None:
    file = run_copy / "config.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("temperature: ", "temperature: [1] #"), encoding="utf-8")
    with pytest.raises(InputError, match=r"config\.yaml: --temperature: expected a value of type float, found"):
        load_runs([run_copy])
