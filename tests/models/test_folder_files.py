"""A file of a model folder is looked at before it is opened: what would block, fill the memory or mean two things."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from zskd.errors import InputError
from zskd.models.folder_files import LARGEST_JSON, LARGEST_TEXT, check_folder, read_json


def sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "expected a file, found a pipe"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "expected a file, found a device"),
    "nowhere": (lambda path: path.symlink_to("gone"), r"expected a file, found none \(a link that leads nowhere\)"),
    "itself": (lambda path: path.symlink_to(path), r"expected a file, found none \(Too many levels"),
    "large": (lambda path: sparse(path, LARGEST_TEXT + 1), f"expected at most .* bytes, found {LARGEST_TEXT + 1:,}"),
}


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocab.txt", "spiece.model", "chat_template.jinja"])
@pytest.mark.parametrize("kind", FILES)
def test_what_is_no_file_is_not_opened(kind: str, name: str, tmp_path: Path) -> None:
    make, said = FILES[kind]
    make(tmp_path / name)
    with pytest.raises(InputError, match=f"^--model {re.escape(str(tmp_path / name))}: {said}"):
        check_folder(tmp_path, flag="--model")


def test_what_loading_does_not_open_may_be_anything(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    (tmp_path / "onnx.json").mkdir()
    (tmp_path / "README.md").symlink_to("gone")
    (tmp_path / "blob").write_text("{}")
    (tmp_path / "config.json").symlink_to("blob")  # as in the cache of the Hub
    sparse(tmp_path / "model.safetensors", LARGEST_TEXT + 1)
    check_folder(tmp_path, flag="--model")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_packed_archive_of_weights_is_refused(method: int, tmp_path: Path) -> None:
    """torch would unpack it: a few kilobytes become gigabytes."""
    with zipfile.ZipFile(tmp_path / "pytorch_model.bin", "w", method) as archive:
        archive.writestr("archive/data.pkl", bytes(10**6))
    with pytest.raises(InputError, match=r"pytorch_model.bin: .*found a compressed archive"):
        check_folder(tmp_path, flag="--model")


JSON = {
    "[]": "expected a JSON object, found a list",
    "null": "expected a JSON object, found null",
    "": "expected JSON, found: Expecting value",
    "{": "expected JSON, found: Expecting property name",
    '{"a": ' * 10**5: "expected JSON, found it nested too deep",
    "[" * 10**5: "expected JSON, found it nested too deep",
    '{"a": ' + "9" * 5000 + "}": "expected JSON, found: Exceeds the limit",
    '{"a": 1, "b": 2, "a": 1}': "expected every key once, found 'a' twice",
    '{"a": {"b": 1, "b": 2}}': "expected every key once, found 'b' twice",
}


@pytest.mark.parametrize("text", JSON, ids=lambda text: text[:12])
def test_what_is_no_object_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=f"config.json: {JSON[text]}") as caught:
        read_json(tmp_path / "config.json")
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_bytes_that_are_no_text_and_large_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff"}')
    sparse(tmp_path / "b.json", LARGEST_JSON + 1)
    for name, said in (
        ("a.json", "expected JSON, found: 'utf-8' codec"),
        ("b.json", "expected at most 16,777,216 bytes"),
    ):
        with pytest.raises(InputError, match=said):
            read_json(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "c.json")
    (tmp_path / "d.json").write_text('{"a": [1, {"a": null}]}')
    assert read_json(tmp_path / "d.json") == {"a": [1, {"a": None}]}
