"""A folder as a corpus: links are followed once, hidden names are not read, and what is left out is counted."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from conftest import prose

from zskd.errors import InputError
from zskd.text.folders import look_into
from zskd.text.sources import SUFFIXES, check_source, documents, find_sources

LINES = prose(30)


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines or LINES) + "\n", encoding="utf-8")
    return path


def names(root: Path) -> list[str]:
    return [Path(source.name).relative_to(root).as_posix() for source in find_sources([str(root)])]


def test_hidden_names_are_not_read_and_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / ".corpus"  # named by the user, so not hidden
    for name in (
        "a.txt",
        "b/c.txt",
        ".ipynb_checkpoints/a-checkpoint.txt",
        ".git/x/y.txt",
        ".b.jsonl",
        "b/._c.txt",
        ".DS_Store",
    ):
        write(root / name)
    write(root / "README.md")
    write(root / "table.csv")
    with caplog.at_level(logging.INFO, "zskd"):
        assert names(root) == ["a.txt", "b/c.txt"]
    (message,) = caplog.messages
    assert f"--corpus {root}: 2 file(s) are read" in message
    assert "4 hidden" in message and "2 of other kinds (.csv .md)" in message


def test_nothing_is_said_about_a_folder_of_text_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "a.txt")
    with caplog.at_level(logging.INFO, "zskd"):
        assert names(tmp_path) == ["a.txt"]
    assert caplog.messages == []


def test_linked_folders_and_files_are_read(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    write(root / "a.txt", "one")
    write(tmp_path / "elsewhere" / "deep" / "b.txt", "two")
    write(tmp_path / "more.jsonl", '{"text": "three"}')
    (root / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "more.jsonl").symlink_to(tmp_path / "more.jsonl")
    assert names(root) == ["a.txt", "linked/deep/b.txt", "more.jsonl"]
    texts = [text.strip() for source in find_sources([str(root)]) for text in documents(source)]
    assert texts == ["one", "two", "three"]


def test_loops_end_and_nothing_outside_is_reached_by_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "corpus"
    write(root / "a.txt")
    write(root / "b" / "c.txt")
    write(tmp_path / "outside.txt")
    write(tmp_path / "far" / "d.txt")
    (root / "self").symlink_to(root, target_is_directory=True)
    (root / "b" / "up").symlink_to("..", target_is_directory=True)
    (root / "above").symlink_to(tmp_path, target_is_directory=True)
    (root / "far").symlink_to(tmp_path / "far", target_is_directory=True)
    (tmp_path / "far" / "back").symlink_to(root, target_is_directory=True)
    with caplog.at_level(logging.INFO, "zskd"):
        assert names(root) == ["a.txt", "b/c.txt", "far/d.txt"]
    assert "4 that are there by another name" in caplog.text


def test_a_file_with_several_names_is_read_once_by_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "m.txt")
    (tmp_path / "a.txt").symlink_to(tmp_path / "m.txt")
    os.link(tmp_path / "m.txt", tmp_path / "z.txt")
    write(tmp_path / "same-text.txt")  # another file, whatever it holds
    with caplog.at_level(logging.INFO, "zskd"):
        assert names(tmp_path) == ["m.txt", "same-text.txt"]
    assert "2 that are there by another name" in caplog.text


def test_a_linked_folder_that_is_there_already_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "z" / "c.txt")
    (tmp_path / "a").symlink_to(tmp_path / "z", target_is_directory=True)
    assert names(tmp_path) == ["z/c.txt"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.txt")
    write(tmp_path / "b.txt")
    found = find_sources([str(path), str(tmp_path), str(path)])
    assert [Path(source.name).name for source in found] == ["a.txt", "b.txt"]
    assert caplog.text.count(f"--corpus {path}: named twice") == 2


def test_a_name_that_no_record_can_hold_is_refused(tmp_path: Path) -> None:
    write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")))
    write(tmp_path / "caf\xe9 \\.txt")
    (problem,) = check_source(str(tmp_path))
    assert problem.startswith(f"--corpus {tmp_path}/caf\\xe9.txt: expected a file name in UTF-8")
    assert "rename" in problem.encode().decode()


@pytest.mark.parametrize("name", ["gone.txt", "gone"])
def test_a_broken_link_is_named(name: str, tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    (tmp_path / name).symlink_to("nowhere")
    (problem,) = check_source(str(tmp_path))
    assert problem.startswith(f"--corpus {tmp_path / name}: ") and "a link to nowhere" in problem
    with pytest.raises(InputError, match="nowhere"):
        find_sources([str(tmp_path)])


def test_a_link_to_itself_is_broken(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    (tmp_path / "b.txt").symlink_to("b.txt")
    assert len(check_source(str(tmp_path))) == 1


def test_a_broken_link_that_is_no_text_is_one_of_the_others(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    (tmp_path / "gone.pdf").symlink_to("nowhere")
    (tmp_path / ".gone.txt").symlink_to("nowhere")
    folder = look_into(tmp_path, SUFFIXES)
    assert folder.problems == [] and folder.other == [tmp_path / "gone.pdf"]
    assert folder.hidden == [tmp_path / ".gone.txt"]


def test_a_folder_of_hidden_text_alone_says_so(tmp_path: Path) -> None:
    write(tmp_path / ".cache" / "a.txt")
    (problem,) = check_source(str(tmp_path))
    assert "found none; left out: 1 hidden" in problem
