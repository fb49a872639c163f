"""Faults of the weights of a model folder: of safetensors, of torch's archives, and of an index."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recipes.faults.model_faults import Fault, set_bytes

# Of a safetensors file: gets the header, the entry of one weight, its name and the bytes of all weights.
Header = dict[str, Any]
TENSORS: dict[str, Callable[[Header, str, int, random.Random], object]] = {
    "entry": lambda head, name, size, rng: head.update({name: rng.choice([None, 3, [], "x", {}, {"dtype": 3}])}),
    "offsets": lambda head, name, size, rng: head[name].update(
        data_offsets=rng.choice([[0, 10**15], [5, 1], [-1, 4], "x", None, [0], [0, 0], [10**30, 10**31], [0, size]])
    ),
    "dtype": lambda head, name, size, rng: head[name].update(
        dtype=rng.choice(["F7", None, 3, "I64", "BOOL", "F8_E4M3", "BF16", "F4", "U8", "", "I32", "U32"])
    ),
    "shape": lambda head, name, size, rng: head[name].update(
        shape=rng.choice([[], [10**12], [-1], "x", None, [0], [1, *head[name]["shape"]], [10**30], [2**32] * 2, [1.5]])
    ),
    "weight left out": lambda head, name, size, rng: head.pop(name),
    "name": lambda head, name, size, rng: head.update(
        {
            rng.choice(["", "x" * 10**5, "../x", "é\n", f"{name}.more", name.upper(), f"model.{name}", "."]): head.pop(
                name
            )
        }
    ),
    "metadata": lambda head, name, size, rng: head.update(
        __metadata__=rng.choice([None, 3, {"format": "tf"}, {"format": 3}, {"a": [1]}, {}, {"format": "mlx"}])
    ),
    "weights besides": lambda head, name, size, rng: head.update(
        {f"more.{i}.weight": {"dtype": "F32", "shape": [0], "data_offsets": [size, size]} for i in range(1000)}
    ),
}
RAW: dict[str, Callable[[bytes, bytes, random.Random], bytes]] = {
    "length of the header": lambda head, data, rng: (
        struct.pack("<Q", rng.choice([2**64 - 1, 2**62, 2**40, 10**8, 0, 5])) + head + data
    ),
    "a header of junk": lambda head, data, rng: struct.pack("<Q", 200) + rng.randbytes(200) + data,
    "a nested header": lambda head, data, rng: struct.pack("<Q", 10**5) + b"[" * 10**5 + data,
    "weights that are no numbers": lambda head, data, rng: (
        struct.pack("<Q", len(head)) + head + struct.pack("<f", rng.choice([float("nan"), float("-inf")])) + data[4:]
    ),
    "cut weights": lambda head, data, rng: struct.pack("<Q", len(head)) + head + data[: rng.randrange(len(data))],
    "bytes at the end": lambda head, data, rng: struct.pack("<Q", len(head)) + head + data + b"x" * 1000,
}


def tensors(rng: random.Random, files: list[str]) -> Fault:
    """A file of safetensors: its header, or the bytes of its weights."""
    weights = next(name for name in files if name.endswith(".safetensors"))
    kind, seed = rng.choice([*TENSORS, *RAW]), rng.getrandbits(32)

    def make(folder: Path) -> None:
        path, inner = folder / weights, random.Random(seed)
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        head, data = content[8:end], content[end:]
        if kind in RAW:
            path.write_bytes(RAW[kind](head, data, inner))
            return
        found = json.loads(head)
        TENSORS[kind](found, inner.choice([name for name in found if name != "__metadata__"]), len(data), inner)
        text = json.dumps(found).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)

    return Fault(f"{weights}: {kind} ({seed})", make)


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("x")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))


def _zip(path: Path, name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)


def _objects(weights: dict[str, Any]) -> list[Any]:
    return [
        [], None, 3, "x", list(weights.values()), {3: 4}, {"a": "b"}, dict.fromkeys(weights), {"state_dict": weights},
        {name: value.tolist() for name, value in weights.items()}, next(iter(weights.values())),
    ]  # fmt: skip


def _saved(change: Callable[[Any, Any], Any]) -> Callable[[Path, dict[str, Any], random.Random], object]:
    def make(path: Path, weights: dict[str, Any], rng: random.Random) -> None:
        import torch

        torch.save({name: change(value, torch) for name, value in weights.items()}, path)

    return make


def _torch(path: Path, content: Any, **options: Any) -> int:
    """Save with torch; the size."""
    import torch

    torch.save(content, path, **options)
    return path.stat().st_size


ARCHIVES: dict[str, Callable[[Path, dict[str, Any], random.Random], object]] = {
    "as before": lambda path, weights, rng: _torch(path, weights),
    "as before, of the old format": lambda path, weights, rng: _torch(
        path, weights, _use_new_zipfile_serialization=False
    ),
    "junk": lambda path, weights, rng: path.write_bytes(rng.randbytes(1000)),
    "empty": lambda path, weights, rng: path.write_bytes(b""),
    "another zip": lambda path, weights, rng: _zip(
        path,
        rng.choice(["archive/data.pkl", "x", "../x", "archive/version"]),
        rng.choice([b"", b"3\n", pickle.dumps({})]),
    ),
    "a tar": lambda path, weights, rng: _tar(path),
    "another object": lambda path, weights, rng: _torch(path, rng.choice(_objects(weights))),
    "cut": lambda path, weights, rng: os.truncate(path, rng.randrange(_torch(path, weights))),
    "with other bytes": lambda path, weights, rng: set_bytes(path, rng, 20 * bool(_torch(path, weights))),
    "sparse": _saved(lambda value, torch: value.to_sparse()),
    "without values": _saved(lambda value, torch: value.to("meta")),
    "expanded": _saved(lambda value, torch: torch.zeros(1).expand(10**6, 10**6)),
    "complex": _saved(lambda value, torch: value.to(torch.complex64)),
    "a bomb": lambda path, weights, rng: _zip(path, "archive/data.pkl", bytes(2 * 10**9), zipfile.ZIP_DEFLATED),
    "a pickle of many marks": lambda path, weights, rng: path.write_bytes(b"\x80\x02" + b"(" * 10**6),
    "a pickle of a large text": lambda path, weights, rng: path.write_bytes(b"\x80\x02X\xff\xff\xff\x7f"),
    "a pointer of Git LFS": lambda path, weights, rng: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
}


def archive(rng: random.Random, files: list[str]) -> Fault:
    """Weights as torch saves them, in place of safetensors."""
    weights = next(name for name in files if name.endswith(".safetensors"))
    target = {"model.safetensors": "pytorch_model.bin"}.get(weights, "adapter_model.bin")
    kind, seed = rng.choice(list(ARCHIVES)), rng.getrandbits(32)

    def make(folder: Path) -> None:
        from safetensors.torch import load_file

        found = load_file(folder / weights)
        (folder / weights).unlink()
        ARCHIVES[kind](folder / target, found, random.Random(seed))

    return Fault(f"{target}: {kind} ({seed})", make, harmless=kind.startswith("as before"))


PART = "model-00001-of-00001.safetensors"


def _indices(names: list[str]) -> dict[str, Any]:
    """Contents of an index by what they are."""
    good: dict[str, Any] = {"metadata": {}, "weight_map": dict.fromkeys(names, PART)}
    maps: list[Any] = [None, [], {}, 3, "x", [["a", "b"]]]
    metadata: list[Any] = [[], None, 3, {"total_size": "x"}, {"all_checkpoint_keys": 3, "total_parameters": []}]
    files: list[Any] = [
        3,
        None,
        [PART],
        "gone",
        "/etc/passwd",
        "../x",
        "config.json",
        ".",
        "..",
        "",
        "a\0b",
        "a" * 5000,
    ]
    return {
        "as transformers writes it": good,
        "a list": [],
        "no map": {"metadata": {}},
        "no metadata": {"weight_map": good["weight_map"]},
        "half of the names": good | {"weight_map": dict.fromkeys(names[: len(names) // 2], PART)},
        "other names": good | {"weight_map": {f"x.{name}": PART for name in names}},
        **{f"the map {value!r}": good | {"weight_map": value} for value in maps},
        **{f"the file {str(value)[:30]!r}": good | {"weight_map": dict.fromkeys(names, value)} for value in files},
        **{f"the metadata {value!r}": good | {"metadata": value} for value in metadata},
    }


def index(rng: random.Random, files: list[str]) -> Fault:
    """An index of weights in several files."""
    kind = rng.choice(list(_indices([])))

    def make(folder: Path) -> None:
        from safetensors.torch import load_file

        names = sorted(load_file(folder / "model.safetensors"))
        (folder / "model.safetensors").rename(folder / PART)
        (folder / "model.safetensors.index.json").write_text(json.dumps(_indices(names)[kind]), encoding="utf-8")

    return Fault(f"model.safetensors.index.json: {kind}", make, harmless=kind.startswith("as "))
