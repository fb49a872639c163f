"""Checksums of cached files: whatever is damaged, by one bit or wholly, is found and said; older files are used."""

from __future__ import annotations

import errno
import logging
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zskd.errors import RunError
from zskd.system import checksums
from zskd.system.checksums import checksum_file, keep, keep_content, known_digest
from zskd.system.files import sha256_file

CONTENT = bytes(range(256)) * 4


@pytest.fixture(autouse=True)
def first_mention(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    monkeypatch.setattr(checksums, "_told", set())
    with caplog.at_level(logging.INFO, "zskd"):
        yield


def kept(folder: Path, name: str = "a.arrow", content: bytes = CONTENT) -> Path:
    path = folder / name
    keep(path, lambda temporary: temporary.write_bytes(content))
    return path


def never(path: Path) -> bool:
    raise AssertionError("a file with a checksum needs no other check")


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def test_a_file_is_kept_with_a_checksum_that_sha256sum_reads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = kept(tmp_path / "labels" / "key")
    assert known_digest(path, never) == sha256_file(path) and path.read_bytes() == CONTENT
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["a.arrow", "a.arrow.sha256"]
    assert caplog.text == ""
    checked = subprocess.run(
        ["sha256sum", "-c", "key/a.arrow.sha256"], cwd=path.parent.parent, capture_output=True, text=True, check=True
    )
    assert checked.stdout == "key/a.arrow: OK\n"


@pytest.mark.parametrize("seed", range(40))
def test_one_flipped_bit_of_either_file_is_found(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = kept(tmp_path)
    flip(checksum_file(path) if seed % 2 else path, random.Random(seed))
    assert known_digest(path, never) is None
    assert caplog.text.count("\n") == 1 and f"cache: {path} " in caplog.text and "is made anew" in caplog.text
    kept(tmp_path)
    assert known_digest(path, never) == sha256_file(path)


def by_folder(path: Path) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)


def by_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def by_another(path: Path) -> None:
    """The file, its checksum or both of another one, all whole."""
    shutil.copyfile(path.with_name(path.name.replace("a.arrow", "b.arrow")), path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "junk": lambda path: path.write_bytes(b"\xff\x00" * 5_000),
    "folder": by_folder,
    "dangling link": by_dangling_link,
    "another": by_another,
}


@pytest.mark.parametrize("which", ["file", "checksum", "both"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_other_damage_is_found_and_written_over(
    which: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = kept(tmp_path)
    kept(tmp_path, "b.arrow", CONTENT[::-1])
    for target in {"file": [path], "checksum": [checksum_file(path)], "both": [path, checksum_file(path)]}[which]:
        DAMAGES[damage](target)
    assert known_digest(path, never) is None
    assert caplog.text.count("is made anew") == 1 and str(path) in caplog.text
    kept(tmp_path)
    assert known_digest(path, never) == sha256_file(path) and path.read_bytes() == CONTENT


def test_a_whole_folder_of_another_key_is_found(tmp_path: Path) -> None:
    kept(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "other")
    assert known_digest(tmp_path / "other" / "a.arrow", never) is None


def test_what_is_missing_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = kept(tmp_path)
    path.unlink()  # as after a kill between the two renames
    assert known_digest(path, never) is None and known_digest(tmp_path / "b.arrow", never) is None
    assert caplog.text == ""


def test_a_checksum_is_in_place_before_its_file_and_a_failure_leaves_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise KeyError

    with pytest.raises(KeyError):
        keep(tmp_path / "a.arrow", failing)
    assert list(tmp_path.iterdir()) == []
    there: list[bool] = []
    monkeypatch.setattr(
        checksums, "write_checksum", lambda path, digest: there.append(path.exists() or len(digest) != 64)
    )
    keep(tmp_path / "a.arrow", lambda temporary: temporary.write_bytes(b"whole"))
    assert there == [False]


def test_files_of_an_earlier_version_are_used_and_said_once_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [kept(tmp_path / folder, name) for folder in ("one", "two") for name in ("a.arrow", "b.arrow")]
    for path in paths:
        checksum_file(path).unlink()
    for _ in range(2):  # the second time there are checksums
        assert [known_digest(path, Path.is_file) for path in paths] == [sha256_file(paths[0])] * 4
    assert [record.levelname for record in caplog.records] == ["INFO"] * 2
    assert "one has files without checksums" in caplog.text and "two has files without checksums" in caplog.text
    assert all(known_digest(path, never) for path in paths)


def test_a_broken_file_of_an_earlier_version_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = kept(tmp_path)
    checksum_file(path).unlink()
    assert known_digest(path, lambda _: False) is None and not checksum_file(path).exists()
    assert f"{path} is damaged and is made anew" in caplog.text


def test_a_cache_that_cannot_be_written_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [kept(tmp_path, name) for name in ("a.arrow", "b.arrow")]
    for path in paths:
        checksum_file(path).unlink()

    def read_only(path: Path, text: str) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(checksums, "write_text", read_only)
    assert [known_digest(path, Path.is_file) for path in paths] == [sha256_file(paths[0])] * 2
    assert caplog.text.count("\n") == 1 and "cannot be written (Read-only file system)" in caplog.text


def test_what_another_run_writes_meanwhile_is_no_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers of a service may differ; a run that has read the old checksum then hashes the new file."""
    path = kept(tmp_path)
    calls: list[Path] = []

    def hashed(read: Path) -> str:
        calls.append(read)
        if len(calls) == 1:
            kept(tmp_path, content=b"new")
        return sha256_file(read)

    monkeypatch.setattr(checksums, "sha256_file", hashed)
    assert known_digest(path, never) == sha256_file(path)
    assert caplog.text == ""


def test_a_file_that_may_not_be_read_is_not_asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept(tmp_path)

    def denied(read: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checksums, "sha256_file", denied)
    with pytest.raises(RunError, match=r"a\.arrow: expected a file that may be read, .*denied.* --cache-dir"):
        known_digest(path, never)


def test_a_file_with_bad_sectors_is_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept(tmp_path)

    def broken(read: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(checksums, "sha256_file", broken)
    assert known_digest(path, never) is None
    assert "cannot be read (Input/output error) and is made anew" in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_named_by_its_content_holds_it(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.arrow"
    kept(tmp_path, "b.arrow")
    for _ in range(2):
        keep_content(path, "éa\n")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    keep_content(path, "éa\n")
    assert before == (path.stat().st_mtime_ns, path.stat().st_ino) and caplog.text == ""
    DAMAGES[damage](path)
    keep_content(path, "éa\n")
    assert path.read_text(encoding="utf-8") == "éa\n"
    assert caplog.text.count("is not what its name says and is made anew") == 1


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("no folder", encoding="utf-8")
    for path in (tmp_path / "labels" / "a.arrow", tmp_path / "labels" / "key" / "a.arrow"):
        assert known_digest(path, never) is None
        with pytest.raises(RunError, match=r"labels: expected a folder of the cache, found something else; .*--cache-"):
            keep(path, lambda temporary: temporary.write_bytes(b""))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.ESTALE])
def test_what_the_machine_is_out_of_costs_no_label(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(number, "x")

    monkeypatch.setattr(checksums, "sha256_file", fail)
    with pytest.raises(OSError, match="x"):
        known_digest(path, never)
    assert path.read_bytes() == CONTENT
