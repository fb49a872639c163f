"""YAML that hangs, contradicts itself or is none: one message, soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from zskd.errors import InputError
from zskd.system import yaml_text
from zskd.system.yaml_text import DEEPEST, LARGEST_FILE, brief, load_yaml

LAUGHS = "\n".join(f"{name}: &{name} [{', '.join([before] * 9)}]" for name, before in zip("bcdefghijk", ["1", *(f"*{c}" for c in "bcdefghij")], strict=True))  # fmt: skip # noqa: E501


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("seed: 2026-13-45", "month must be in 1..12"),
        ("x: !!int abc", "invalid literal for int"),
        ("x: !!float abc", "could not convert string to float"),
        ("x: !!bool perhaps", "perhaps"),
        ("x: !!timestamp 99", "plain values"),
        (f"x: {'9' * 5_000}", "4300 digits"),
        ("a: 1\0", "special characters are not allowed"),
        ("a: 1\nb: 2\na: 3", "the key 'a' a second time in line 3"),
        ("a: {b: 1, b: 1}", "the key 'b' a second time"),
        ("1: a\n1.0: b", "a second time"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), f"more than {DEEPEST} levels"),
        ("[" * 50_000, f"more than {DEEPEST} levels"),
        ("- " * 50_000, f"more than {DEEPEST} levels"),
        (LAUGHS, "values, aliases counted"),
        ("? [1]\n: 2", "unhashable key"),
        ("x: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: [1", "expected ',' or ']'"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("x" * (LARGEST_FILE + 1), f"at most {LARGEST_FILE:,} bytes"),
    ],
    ids=range(19),
)
def test_what_is_no_plain_yaml_is_refused_at_once(text: str, part: str, tmp_path: Path) -> None:
    path, started = tmp_path / "run.yaml", time.process_time()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_yaml(path, "--config run.yaml")
    assert str(caught.value).startswith("--config run.yaml: expected ") and part in str(caught.value)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)
    assert time.process_time() - started < 2


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(b"a: \xff")
    with pytest.raises(InputError, match="no UTF-8 text"):
        load_yaml(tmp_path / "run.yaml", "x")


def test_plain_yaml_is_read_as_pyyaml_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    text = "\ufeffa: &one {b: [1, 2.5, no], c: 2e-5}\nd: {<<: *one, c: null}\ne: *one\nf: 2026-11-28\n"
    path.write_text(text, encoding="utf-8")
    found = load_yaml(path, "x")
    assert found["a"] == found["e"] == {"b": [1, 2.5, False], "c": "2e-5"}
    assert found["d"] == {"b": [1, 2.5, False], "c": None} and str(found["f"]) == "2026-11-28"
    path.write_text("", encoding="utf-8")
    assert load_yaml(path, "x") is None


def test_many_values_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "MOST_VALUES", 10)
    path = tmp_path / "run.yaml"
    path.write_text("[1, 2, 3, 4, 5, 6, 7, 8, 9]", encoding="utf-8")
    assert len(load_yaml(path, "x")) == 9
    path.write_text("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", encoding="utf-8")
    with pytest.raises(InputError, match="more than 10 values"):
        load_yaml(path, "x")


def test_values_are_shown_short() -> None:
    assert brief("glue") == "'glue'" and brief(0.5) == "0.5" and brief(["a", 1]) == "['a', 1]" and brief(None) == "None"
    assert brief(10**5_000) == "a number of 16,610 bits"
    nested: list = []
    nested.append(nested)
    for value in ("x" * 10**6, [["y" * 10**6] * 10**5] * 9, {i: i for i in range(10**5)}, 10**200, nested):
        assert len(brief(value)) <= 204
