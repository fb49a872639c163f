"""What is at a path, for every kind of thing that can be there, and names that nothing can have."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from zskd.system.paths import exists, expanded, found_at, is_file, is_folder, name_problem


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, which is the working folder, with one of each kind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("nothing")
    (tmp_path / "to-file").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("file", "a file"),
        ("to-file", "a file"),
        ("folder", "a folder"),
        ("", "a folder"),
        ("pipe", "a pipe"),
        ("socket", "a socket"),
        ("/dev/null", "a device"),
        ("nothing", "none"),
        ("broken", "none (a link that leads nowhere)"),
        ("loop", "none (Too many levels of symbolic links)"),
        ("loop/x", "none (Too many levels of symbolic links)"),
        ("file/x", "none (Not a directory)"),
        ("x" * 256, "none (File name too long)"),
        ("x/" * 2_100, "none (File name too long)"),
        ("a\0b", "none (no name of a file)"),
        ("\ud800", "none (no name of a file)"),
    ],
)
def test_what_is_there_is_said_and_never_raised(odd: Path, path: str, found: str) -> None:
    assert found_at(path) == found
    assert (is_file(path), is_folder(path)) == (found == "a file", found == "a folder")
    assert exists(path) is not found.startswith("none")


def test_home_is_put_in_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/x") == Path("/home/me/x")
    with pytest.raises(RuntimeError):
        Path("~no-such-user/x").expanduser()
    assert expanded("~no-such-user/x") == Path("~no-such-user/x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\0b", "expected text without NUL, found 'a\\x00b'"),
        ("a\udcff", "expected UTF-8 text, found other bytes in 'a\\udcff'"),
        ("ä" * 128, "expected names of at most 255 bytes, found one of 256: "),
        ("a/" + "b" * 300 + "/c", "expected names of at most 255 bytes, found one of 300: "),
        ("x/" * 2_048, "expected at most 4,095 bytes, found 4,096: "),
    ],
)
def test_a_text_that_can_be_no_name_is_refused_in_few_words(text: str, said: str) -> None:
    problem = name_problem(text)
    assert problem is not None and problem.startswith(said) and len(problem) < 200
    assert (name_problem(text, any_length=True) is None) is ("bytes, found" in said)


@pytest.mark.parametrize("text", ["", "a", "~/x y", "x" * 255, "ä" * 127, ("x" * 254 + "/") * 16, "a\nb"])
def test_other_texts_are_names(text: str) -> None:
    assert name_problem(text) is None
