"""A file of a model folder is looked at before it is opened: what would block, fill the memory or mean two things."""

from __future__ import annotations

import json
import os
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

from zskd.errors import InputError
from zskd.models.folder_files import ADAPTER, LARGEST_JSON, LARGEST_TEXT, check_folder, read_json


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
    for name in ("train.txt", "data.json", "dev.bin", "optimizer.bin", "other.safetensors"):
        (tmp_path / name).symlink_to("gone")
    for name in ("train.json", "corpus.txt", "events.jinja"):
        sparse(tmp_path / name, LARGEST_TEXT + 1)
    os.mkfifo(tmp_path / "log.txt")
    (tmp_path / "pytorch_model.bin").symlink_to("gone")  # another format, which the first one goes before
    assert check_folder(tmp_path, flag="--model") == [tmp_path / "model.safetensors"]
    assert check_folder(tmp_path, flag="--model", weights=ADAPTER) == []


def test_every_file_that_a_tokenizer_class_names_is_looked_at(tmp_path: Path) -> None:
    found: set[str] = set()
    for path in Path(transformers.__file__).parent.rglob("tokenization_*.py"):
        text = path.read_text(encoding="utf-8")
        for names in re.findall(r"(?is)vocab_files_names[^=\n]*= *\{(.*?)\}", text):
            found |= set(re.findall(r': *"([^"]+)"', names))
    assert len(found) > 20 and "vocab.txt" in found
    for name in (*found, "tokenizer.model.v3", "qwen.tiktoken", "config.4.0.0.json", "tokenizer.4.0.0.json"):
        (tmp_path / name).symlink_to("gone")
        with pytest.raises(InputError, match=re.escape(name)):
            check_folder(tmp_path, flag="--model")
        (tmp_path / name).unlink()
    (tmp_path / "additional_chat_templates").mkdir()
    os.mkfifo(tmp_path / "additional_chat_templates" / "a.jinja")
    with pytest.raises(InputError, match=r"a\.jinja: expected a file, found a pipe"):
        check_folder(tmp_path, flag="--model")


NAMES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def index(path: Path, *parts: object) -> Path:
    path.write_text(json.dumps({"metadata": {}, "weight_map": dict(enumerate(parts))}), encoding="utf-8")
    return path


def make(folder: Path, name: str) -> list[Path]:
    """Weights under a name of transformers; returns the files that hold them."""
    if not name.endswith(".index.json"):
        (folder / name).write_bytes(b"x")
        return [folder / name]
    parts = [folder / f"{i}-of-2{Path(name.removesuffix('.index.json')).suffix}" for i in (1, 2)]
    for part in parts:
        part.write_bytes(b"x")
    index(folder / name, *(part.name for part in parts), parts[0].name)
    return parts


@pytest.mark.parametrize("first", range(4))
def test_what_the_loader_passes_over_may_lack_parts_or_be_damaged(first: int, tmp_path: Path) -> None:
    """As after a download of one format, beside which the index of the other stays."""
    wanted = make(tmp_path, NAMES[first])
    for name in NAMES[first + 1 :]:
        if name.endswith(".json"):
            index(tmp_path / name, "not-there.bin")
        else:
            (tmp_path / name).symlink_to("gone")
    assert check_folder(tmp_path, flag="--model") == wanted
    if first < 3:
        (tmp_path / NAMES[3]).write_text("{", encoding="utf-8")
        assert check_folder(tmp_path, flag="--model") == wanted


@pytest.mark.parametrize("name", NAMES[1::2])
@pytest.mark.parametrize(
    "part", ["../model.bin", "/etc/model.bin", "in/model.bin", "..", "", "a\\b", "\0", 3, None, ["a"]]
)
def test_an_index_names_files_of_its_folder_whether_it_is_loaded_or_not(
    part: object, name: str, tmp_path: Path
) -> None:
    index(tmp_path / name, part)
    said = f"^--model {re.escape(str(tmp_path))}: {name}: expected names of files in its folder, found "
    with pytest.raises(InputError, match=said):
        check_folder(tmp_path, flag="--model")
    make(tmp_path, "model.safetensors")
    with pytest.raises(InputError, match=said):
        check_folder(tmp_path, flag="--model")


def test_what_is_loaded_is_looked_at_part_by_part(tmp_path: Path) -> None:
    for content in ({}, {"metadata": {}}, {"metadata": {}, "weight_map": {}}, {"weight_map": {"a": "b"}}):
        (tmp_path / NAMES[1]).write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(InputError, match="expected metadata, and under weight_map the file of each weight"):
            check_folder(tmp_path, flag="--model")
    for name in ("x" * 300, "not-there.safetensors"):
        index(tmp_path / NAMES[1], name)
        with pytest.raises(
            InputError, match=r"expected names of files in its folder, found '(x+\.\.\.x+|not-there\.s\w+)"
        ):
            check_folder(tmp_path, flag="--model")
    os.mkfifo(tmp_path / "not-there.safetensors")
    with pytest.raises(InputError, match=r"not-there\.safetensors: expected a file, found a pipe"):
        check_folder(tmp_path, flag="--model")
    os.mkfifo(tmp_path / NAMES[0])
    with pytest.raises(InputError, match=r"/model\.safetensors: expected a file, found a pipe"):
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


def test_a_key_given_twice_is_found_in_one_pass(tmp_path: Path) -> None:
    """One search for each key took 20 seconds."""
    names = [f"key{i}" for i in range(40_000)]
    (tmp_path / "a.json").write_text("{" + ",".join(f'"{name}": 0' for name in (*names, names[-1])) + "}")
    start = time.process_time()
    with pytest.raises(InputError, match="expected every key once, found 'key39999' twice"):
        read_json(tmp_path / "a.json")
    assert time.process_time() - start < 2
