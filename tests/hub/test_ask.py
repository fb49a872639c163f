"""What a name is: a path, a Hub id, or a function."""

from __future__ import annotations

from pathlib import Path

import pytest

from zskd.hub.ask import is_callable_name, is_local


@pytest.mark.parametrize("name", ["module:function", "package.module:function", "m:Class.method", "_m1:f_2"])
def test_function_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_callable_name(name) and not is_local(name)
    Path(name).mkdir()
    assert not is_callable_name(name) and is_local(name)


@pytest.mark.parametrize(
    "name",
    [
        "module", "module:", ":function", "", "a:b:c", "user/model", "user/model:main", "./module:function", "/abs:f",
        "m.:f", "m:f()", "1m:f", "my-module:f", "default", "embedded", "C:\\models",
    ],
)  # fmt: skip
def test_names_of_no_function(name: str) -> None:
    assert not is_callable_name(name)
