"""Which files of a folder are a saved model: those that make one, and nothing else that lies there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zskd.errors import InputError
from zskd.hub.model_files import TOKENIZER, WEIGHTS, WEIGHTS_INDEX, model_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("config.json", WEIGHTS, "vocab.txt"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    return tmp_path


def names(folder: Path) -> list[str]:
    return [path.name for path in model_files(folder)]


def test_other_files_stay(folder: Path) -> None:
    for name in ("optimizer.pt", "training_args.bin", ".env", "model.bin", "notes.txt", "pytorch_model.bin"):
        (folder / name).write_text("secret", encoding="utf-8")
    assert names(folder) == ["config.json", WEIGHTS, "vocab.txt"]


def test_every_file_of_a_tokenizer_belongs_to_it(folder: Path) -> None:
    for name in TOKENIZER:
        (folder / name).write_text("x", encoding="utf-8")
    assert names(folder) == sorted({"config.json", WEIGHTS, *TOKENIZER})


def test_shards_come_with_their_index(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for name in (*shards, "model-00009-of-00009.safetensors"):
        (folder / name).write_text("x", encoding="utf-8")
    (folder / WEIGHTS_INDEX).write_text(json.dumps({"weight_map": {"a": shards[0], "b": shards[1]}}), encoding="utf-8")
    assert names(folder) == sorted(["config.json", *shards, WEIGHTS_INDEX, "vocab.txt"])
    (folder / shards[1]).unlink()
    with pytest.raises(InputError, match=shards[1]):
        model_files(folder)


@pytest.mark.parametrize("shard", ["../secret", "/etc/passwd", "secret.safetensors", "model-1.bin", 7])
def test_an_index_names_nothing_else(folder: Path, shard: object) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS_INDEX).write_text(json.dumps({"weight_map": {"a": shard}}), encoding="utf-8")
    with pytest.raises(InputError, match="expected names like model-00001"):
        model_files(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_a_damaged_index_is_named(folder: Path, content: str) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS_INDEX).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="expected an index of weight files"):
        model_files(folder)


def test_all_that_is_missing_is_said_together(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        model_files(tmp_path)
    assert len(raised.value.problems) == 3 and "expected a tokenizer" in raised.value.problems[-1]
    with pytest.raises(InputError, match="expected a model folder"):
        model_files(tmp_path / "absent")


def test_a_link_could_stand_for_anything(folder: Path) -> None:
    (folder / "real").write_text("secret", encoding="utf-8")
    (folder / "merges.txt").symlink_to(folder / "real")
    with pytest.raises(InputError, match=r"merges\.txt: expected a file, found a link"):
        model_files(folder)
