"""Writing files: a finished one is never lost, an unfinished one never seen."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from zskd.system.files import replacing, sha256_file, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_in_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "text.txt"
    write_text(path, "häuser\n")
    assert path.read_bytes() == "häuser\n".encode()
    assert names(path.parent) == ["text.txt"], "nothing temporary stays"


@pytest.mark.parametrize("before", [None, "old"])
def test_what_fails_leaves_what_was_there(before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    if before is not None:
        path.write_text(before, encoding="utf-8")
    with pytest.raises(KeyError), replacing(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        assert not path.exists() if before is None else path.read_text(encoding="utf-8") == before
        raise KeyError
    assert names(tmp_path) == ([] if before is None else ["text.txt"])
    assert before is None or path.read_text(encoding="utf-8") == before


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    for content in ("a", "b"):
        with replacing(folder) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content, encoding="utf-8")
        assert names(folder) == [content]
    with pytest.raises(KeyError), replacing(folder) as temporary:
        temporary.mkdir()
        raise KeyError
    assert names(folder) == ["b"] and names(tmp_path) == ["student"]


def test_two_writers_at_once_both_write_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first", encoding="utf-8")
        second.write_text("second", encoding="utf-8")
    assert path.read_text(encoding="utf-8") in ("first", "second") and names(tmp_path) == ["text.txt"]


def test_a_digest_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 1000)
    assert sha256_file(path) == sha256_file(str(path)) == hashlib.sha256(path.read_bytes()).hexdigest()
