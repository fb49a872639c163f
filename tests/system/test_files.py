"""Writing files: a finished one is never lost, an unfinished one never seen."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from zskd.errors import RunError
from zskd.system.files import output_file, replacing, sha256_file, target_problem, write_problem, write_text


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


def test_a_device_or_pipe_is_no_file_of_ours(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name in ("pipe", "socket"):
            with pytest.raises(
                RunError, match=f"{name}: expected a file or folder of zskd's, or nothing, found a {name}"
            ):
                write_text(tmp_path / name, "new")
    with pytest.raises(RunError, match="found a device"):
        write_text("/dev/null", "new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode) and stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "socket"}


def test_a_link_in_a_folder_of_ours_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("theirs", encoding="utf-8")
    (tmp_path / "mine").symlink_to(tmp_path / "elsewhere")
    write_text(tmp_path / "mine", "new")
    assert (tmp_path / "elsewhere").read_text(encoding="utf-8") == "theirs" and not (tmp_path / "mine").is_symlink()


def test_what_the_user_names_is_written_to_as_it_is(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        with output_file(path) as target:
            target.write_text("new", encoding="utf-8")

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text(encoding="utf-8")))
    reader.start()
    write(tmp_path / "pipe")
    reader.join(10)
    write(tmp_path / "link")
    write(Path("/dev/null"))
    assert read == ["new"] and (tmp_path / "link").is_symlink() and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "new" and stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(ZeroDivisionError), output_file(tmp_path / "file") as target:
        target.write_text("half", encoding="utf-8")
        raise ZeroDivisionError
    assert (tmp_path / "file").read_text(encoding="utf-8") == "new", "a file is whole or as it was"


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127])
def test_a_name_may_be_as_long_as_the_file_system_allows(name: str, tmp_path: Path) -> None:
    write_text(tmp_path / name, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "whole"


def test_a_file_that_the_user_named_leaves_no_folder_where_it_fails(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ZeroDivisionError), output_file(tmp_path / "a" / "b" / "c" / "file"):
        raise ZeroDivisionError
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


def test_where_nothing_can_be_written_is_said_before(tmp_path: Path, ordinary_user: None) -> None:
    locked, closed = tmp_path / "locked", tmp_path / "closed"
    locked.mkdir(mode=0o500)
    closed.mkdir(mode=0)
    assert write_problem(tmp_path) is None and write_problem(tmp_path / "new" / "deep") is None
    for path in (locked, locked / "new" / "deep"):
        assert write_problem(path) == f"{locked}: no permission to write there"
    assert "no permission" in str(write_problem(closed / "new" / "deep"))
    assert write_problem(tmp_path / ("n" * 256)) == "the name is too long (256 bytes)"
    assert write_problem(tmp_path / ("é" * 128)) == "the name is too long (256 bytes)"
    assert write_problem(Path("a/" * 2_500)) == "the name is too long"
    assert target_problem(tmp_path / "new") is None and target_problem(Path("new")) is None
    assert "no permission" in str(target_problem(locked)), "a folder that is replaced is moved aside"
    assert "no permission" in str(target_problem(locked / "new"))
    (tmp_path / "link").symlink_to(locked / "new")
    assert target_problem(tmp_path / "link") is None, "written to as it is"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_others_may_read_what_a_library_wrote_for_the_owner_alone(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "model.safetensors") as temporary:
            save_file({"weight": np.zeros(2)}, temporary)
        with replacing(tmp_path / "student") as temporary:
            temporary.mkdir()
            save_file({"weight": np.zeros(2)}, temporary / "model.safetensors")
            (temporary / "run.sh").touch(mode=0o755)
    finally:
        os.umask(before)
    for path in (tmp_path / "model.safetensors", tmp_path / "student" / "model.safetensors"):
        assert path.stat().st_mode & 0o777 == mode
    assert (tmp_path / "student" / "run.sh").stat().st_mode & 0o777 == 0o755 & ~umask
