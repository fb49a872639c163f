"""Damage to one file of a cache: bits, blocks, the whole of it, or something else in its place, drawn from a seed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path


def flipped(path: Path, rng: random.Random, bits: int = 1) -> None:
    """Flip bits at drawn places."""
    content = bytearray(path.read_bytes())
    for place in rng.sample(range(8 * len(content)), bits):
        content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)


def cut(path: Path, rng: random.Random) -> None:
    """Keep a drawn part from the beginning."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def zeroed(path: Path, rng: random.Random) -> None:
    """Zeros from a drawn place on, as after a power cut."""
    content = path.read_bytes()
    at = rng.randrange(len(content))
    path.write_bytes(content[:at] + bytes(len(content) - at))


def replaced(path: Path, rng: random.Random) -> None:
    """Random bytes."""
    path.write_bytes(rng.randbytes(rng.choice([1, 64, 5_000])))


def longer(path: Path, rng: random.Random) -> None:
    """Bytes more at the end."""
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randint(1, 100)))


def swapped_blocks(path: Path, rng: random.Random) -> None:
    """Two blocks change places; one bit changes where they were alike."""
    content = path.read_bytes()
    size = max(1, len(content) // 8)
    one, other = sorted(rng.sample(range(8), 2))
    blocks = [content[i * size : (i + 1) * size] for i in range(8)] + [content[8 * size :]]
    blocks[one], blocks[other] = blocks[other], blocks[one]
    if b"".join(blocks) == content:
        flipped(path, rng)
    else:
        path.write_bytes(b"".join(blocks))


def emptied(path: Path, rng: random.Random) -> None:
    """No byte left."""
    path.write_bytes(b"")


def a_folder(path: Path, rng: random.Random) -> None:
    """A folder in its place, empty or not."""
    path.unlink()
    path.mkdir()
    if rng.random() < 0.5:
        (path / "inner").write_text("something", encoding="utf-8")


def dangling(path: Path, rng: random.Random) -> None:
    """A link to nothing in its place."""
    path.unlink()
    path.symlink_to(rng.choice(["nowhere", "/nowhere/at/all", path.name]))


def another(path: Path, rng: random.Random) -> None:
    """Another file of the cache in its place, of the same kind if there is one, else of any."""
    kind = path.name[path.name.index(".") :] if path.name.endswith(".sha256") else path.suffix
    others = [other for other in sorted(path.parents[2].rglob(f"*{kind}")) if other.is_file()]
    others = [other for other in others if other.read_bytes() != path.read_bytes()]
    near = [other for other in others if other.parts[-3] == path.parts[-3]]
    shutil.copyfile(rng.choice(near or others or sorted(path.parents[2].rglob("*.arrow"))), path)


OF_A_FILE: dict[str, Callable[[Path, random.Random], None]] = {
    "one bit flipped": flipped,
    "twenty bits flipped": partial(flipped, bits=20),
    "cut": cut,
    "zeros at the end": zeroed,
    "random bytes": replaced,
    "longer": longer,
    "two blocks swapped": swapped_blocks,
    "emptied": emptied,
    "a folder": a_folder,
    "a dangling link": dangling,
    "another file": another,
}
