"""What a killed writer left is removed, or put to use; what a living one is writing is left alone."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zskd.system.files import replacing, write_text
from zskd.system.unfinished import ABANDONED_SECONDS, clear_unfinished, held_name, holder


def killed(function: Callable[[], object]) -> None:
    """Run a function in a process that is killed by it, or right after it."""
    child = os.fork()
    if not child:
        function()
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def killed_while_writing(path: Path) -> None:
    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half", encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)

    killed(write)


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.part"))


def test_the_next_write_of_the_same_file_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "labels.arrow")
    killed_while_writing(tmp_path / "other.arrow")
    assert len(parts(tmp_path)) == 2 and not (tmp_path / "labels.arrow").exists()
    write_text(tmp_path / "labels.arrow", "whole")
    (left,) = parts(tmp_path)
    assert held_name(left) == "other.arrow" and (tmp_path / "labels.arrow").read_text(encoding="utf-8") == "whole"


def test_a_run_clears_a_whole_cache_but_not_what_a_living_process_writes(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "labels" / "0a1b" / "killed.arrow")
    (tmp_path / ".notes.part").mkdir()  # no holder: the eight letters are missing
    with replacing(tmp_path / "labels" / "0a1b" / "alive.arrow") as temporary:
        temporary.write_text("half", encoding="utf-8")
        killed(lambda: clear_unfinished(tmp_path, deep=True, owned=True))  # another process looks
        assert [held_name(path) for path in parts(tmp_path)] == [None, "alive.arrow"] and temporary.exists()
    assert (tmp_path / "labels" / "0a1b" / "alive.arrow").exists()


@pytest.mark.parametrize("before", [True, False], ids=["the new one was not there yet", "it was"])
def test_a_kill_while_a_folder_is_replaced_loses_neither(before: bool, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "old").write_text("old", encoding="utf-8")

    def write() -> None:
        rename = Path.replace
        Path.replace = lambda *paths: (  # type: ignore[method-assign,assignment]
            None if before else rename(*paths),
            os.kill(os.getpid(), signal.SIGKILL),
        )
        with replacing(folder) as temporary:
            temporary.mkdir()
            (temporary / "new").write_text("new", encoding="utf-8")

    killed(write)
    assert folder.exists() is not before
    clear_unfinished(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["new"] and parts(tmp_path) == []


def test_a_folder_whose_replacement_fails_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "weights").touch()
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "student") as temporary:
        temporary.mkdir()
    assert (tmp_path / "student" / "weights").exists() and parts(tmp_path) == []


@pytest.mark.parametrize(("days", "owned", "cleared"), [(2, False, True), (0, False, False), (0, True, True)])
def test_without_locks_age_decides_unless_nobody_else_writes_there(
    days: int, owned: bool, cleared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    killed_while_writing(tmp_path / "file")
    (left,) = parts(tmp_path)
    at = time.time() - days * ABANDONED_SECONDS
    for path in (left / "file", left):
        os.utime(path, (at, at))
    monkeypatch.setattr(fcntl, "flock", no_locks)
    clear_unfinished(tmp_path, owned=owned)
    assert (parts(tmp_path) == []) is cleared
    write_text(tmp_path / "new", "written without locks too")
    assert (tmp_path / "new").exists()


def test_a_writer_whose_new_holder_was_cleared_before_it_had_the_lock_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    lock = fcntl.flock

    def late(handle: int, operation: int) -> None:
        if not made and operation == fcntl.LOCK_EX:
            made.extend(parts(tmp_path))
            clear_unfinished(tmp_path)
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with holder(tmp_path / "file") as folder:
        assert made and folder not in made and parts(tmp_path) == [folder]


def test_a_folder_that_cannot_even_be_put_back_comes_back_with_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second interrupt meets the renaming back, as signals that are swallowed come again every second."""
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "weights").touch()
    rename = Path.rename

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        patched.setattr(Path, "rename", lambda self, to: rename(self, to) if self == folder else fail())
        with pytest.raises(KeyboardInterrupt), replacing(folder) as temporary:
            temporary.mkdir()
            (temporary / "new").touch()
    assert not folder.exists()
    clear_unfinished(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["new"] and parts(tmp_path) == []


@pytest.mark.parametrize("name", ["old", ".lock", "ä" * 120])
def test_a_folder_of_any_name_is_replaced_and_cleared(name: str, tmp_path: Path) -> None:
    for content in ("first", "second"):
        with replacing(tmp_path / name) as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert [path.name for path in (tmp_path / name).iterdir()] == ["second"]
    killed_while_writing(tmp_path / "below" / name)
    clear_unfinished(tmp_path, deep=True)
    assert parts(tmp_path) == []


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """A run folder from elsewhere could have a file made anywhere."""
    holder_folder = tmp_path / "run" / ".report.html.abcdefgh.part"
    holder_folder.mkdir(parents=True)
    for name in (".zskd-lock", ".lock"):
        (holder_folder / name).symlink_to(tmp_path / "elsewhere")
    write_text(tmp_path / "run" / "report.html", "whole")
    assert not (tmp_path / "elsewhere").exists()
