"""Cache damage: files of a warm cache are damaged, and the run still gives the student that nothing disturbed.

What is damaged, where and how is drawn: any kind of file, its checksum, one bit or all of it. The log has to name what
was damaged, and afterwards the cache has to hold it again, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recipes.faults.case import Case, complaints, leftovers
from recipes.faults.commands import run, start
from recipes.faults.damage import OF_A_FILE
from recipes.faults.world import RUNS, World, files_of

# Kind of file -> where it lies in the cache.
FILES = {
    "corpus": "corpora/*/sentences.arrow",
    "corpus.json": "corpora/*/corpus.json",
    "transfer pool": "pools/*/transfer.arrow",
    "held-out pool": "pools/*/[sr]e*.arrow",
    "labels": "labels/*/*.arrow",
    "words": "words/*.safetensors",
    "generator": "generators/*/model.safetensors",
}
ANEW, NO_CHECKSUMS = "made anew", "without checksums"
TOGETHER, SEVERAL = 4, 3  # cases of two runs that share a cache, and of runs of two processes


@dataclass(frozen=True)
class Target:
    """A file of a cache that is to be damaged."""

    path: Path
    rng: random.Random

    @property
    def checksum(self) -> Path:
        """Where its checksum lies."""
        return self.path.with_name(self.path.name + ".sha256")


Damage = Callable[[Target], None]


# Without a checksum, these are seen: the file does not open, or has the wrong number of rows.
_SEEN = ("random bytes", "emptied", "a folder", "a dangling link")


def of_file(target: Target, name: str) -> None:
    """Damage a file."""
    OF_A_FILE[name](target.path, target.rng)


def of_checksum(target: Target, name: str) -> None:
    """Damage a checksum; the file is whole."""
    OF_A_FILE[name](target.checksum, target.rng)


def of_both(target: Target, name: str) -> None:
    """Damage a file and its checksum."""
    of_file(target, name)
    of_checksum(target, target.rng.choice(list(OF_A_FILE)))


def without_checksum(target: Target, name: str) -> None:
    """Damage a file of an earlier version."""
    target.checksum.unlink()
    if name:
        of_file(target, name)


def of_json(target: Target, name: str, *, checksum: bool = True) -> None:
    """Change one value of a JSON file, or leave it out."""
    content: dict[str, Any] = json.loads(target.path.read_bytes())
    wrong: list[Any] = [None, -1, 0.5, "7", [], {}, True, "x" * 1_000, 10**30, float("nan"), {"parts": 1}, "\ud800"]
    if checksum:  # nobody could tell a number that is merely another one without
        wrong += [content[name] + target.rng.randint(1, 9)] if isinstance(content[name], int) else ["0" * 64]
    if target.rng.random() < 0.2:
        del content[name]
    else:
        # An empty mapping is what `dropped` may be, and zero or true no fingerprint.
        fits = {"dropped": ({},), "passages": (10**30,), "characters": (10**30,), "fingerprint": ()}
        options = [value for value in wrong if checksum or value not in fits.get(name, ())]
        content[name] = target.rng.choice([value for value in options if value != content[name]])
    target.path.write_text(json.dumps(content), encoding="utf-8")
    if not checksum:
        target.checksum.unlink()


def drawn_damage(kind: str, rng: random.Random) -> tuple[str, Damage, str | None]:
    """A description, the damage, and what the log has to say of it."""
    names = list(OF_A_FILE)
    way = rng.choices(["file", "checksum", "both", "earlier", "earlier, damaged", "json"], (10, 3, 2, 1, 2, 6))[0]
    if way == "json" and kind == "corpus.json":
        key = rng.choice(["passages", "sentences", "characters", "dropped", "fingerprint"])
        checksum = rng.random() < 0.6
        shown = f"{key} changed" + ("" if checksum else ", without checksum")
        return shown, partial(of_json, name=key, checksum=checksum), ANEW
    if way == "checksum":
        name = rng.choice(names)
        return f"its checksum: {name}", partial(of_checksum, name=name), ANEW
    if way == "both":
        name = rng.choice(names)
        return f"{name}, and its checksum damaged", partial(of_both, name=name), ANEW
    if way == "earlier":
        return "without checksum", partial(without_checksum, name=""), NO_CHECKSUMS
    if way == "earlier, damaged":
        name = rng.choice(_SEEN)
        return f"{name}, without checksum", partial(without_checksum, name=name), ANEW
    name = rng.choice(names)
    return name, partial(of_file, name=name), ANEW


@dataclass(frozen=True)
class Plan:
    """What a case does.

    Attributes:
        name: the undisturbed run that is repeated.
        damages: kind of file, seed of place and bytes, damage, and what the log has to say.
        how: ``alone``, ``together`` (two runs share the damaged cache) or ``two processes``.
    """

    name: str
    damages: tuple[tuple[str, int, Damage, str | None], ...]
    how: str = "alone"

    def run(self, world: World, scratch: Path) -> list[str]:
        """Damage a copy of the cache, run, and look at student, log and cache."""
        cache, output = scratch / "cache", scratch / "run"
        shutil.copytree(world.cache, cache)
        expected: dict[Path, str | None] = {}
        for kind, seed, damage, said in self.damages:
            rng = random.Random(seed)
            paths = [path for path in used_files(world, self.name, kind) if cache / path not in expected]
            target = Target(cache / rng.choice(paths), rng)
            damage(target)
            expected[target.path] = said
        if self.how == "together":
            outputs = [scratch / "one", scratch / "other"]
            running = [start(scratch, *world.distill(self.name, to, cache)) for to in outputs]
            ended = [process.wait() for process in running]
        elif self.how == "two processes":
            outputs = [output]
            before = run(scratch, *world.distill(self.name, scratch / "first", scratch / "own", *_TWO), limit=100)
            ended = [before, run(scratch, *world.distill(self.name, output, cache, *_TWO), limit=100)]
        else:
            outputs = [output]
            ended = [run(scratch, *world.distill(self.name, output, cache))]
        found = [text for done in ended for text in complaints(done, [0])]
        said_in = "".join(done.err for done in ended)
        for path, said in expected.items():
            where = path.parent if said == NO_CHECKSUMS else path
            if said is not None and not any(str(where) in line and said in line for line in said_in.splitlines()):
                found.append(f"the log does not say that {path.relative_to(cache)} is {said}")
        for to in outputs:
            if self.how == "two processes":
                same = files_of(scratch / "first" / "student") == files_of(to / "student")
                found += [] if same else ["the student differs from the undisturbed run's of two processes"]
            else:
                found += world.differences(self.name, to)
        return found + [text for path in expected for text in not_restored(world.cache, cache, path)] + leftovers(cache)


_TWO = ("--num-processes", 2, "--max-class-share", 1)


def not_restored(whole: Path, cache: Path, path: Path) -> list[str]:
    """What of a file and its checksum does not lie in the cache as it did before the damage."""
    name = path.relative_to(cache)
    return [
        f"{each} is not what it was before the damage"
        for each in (name, name.with_name(name.name + ".sha256"))
        if not (cache / each).is_file() or (cache / each).read_bytes() != (whole / each).read_bytes()
    ]


def used_files(world: World, name: str, kind: str) -> list[Path]:
    """Files of a kind that the run `name` reads, relative to the cache."""
    import pyarrow as pa

    def rows(path: Path) -> int:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
            return sum(len(batch) for batch in reader)

    pools = {run_name: _pools(world, run_name) for run_name in RUNS}
    sizes = {run_name: rows(folder / "transfer.arrow") for run_name, folder in pools.items()}
    found = sorted(world.cache.glob(FILES[kind]))
    if "pool" in kind:
        found = [path for path in found if path.parent == pools[name]]
    if kind == "labels":  # a shard for each pool; only the transfer pools differ
        others = {size for run_name, size in sizes.items() if run_name != name} - {sizes[name]}
        found = [path for path in found if rows(path) not in others]
    assert found, (kind, name)
    return [path.relative_to(world.cache) for path in found]


def _pools(world: World, name: str) -> Path:
    """The folder of the pools that a run has recorded."""
    fingerprint = json.loads((world.run(name) / "record.json").read_text(encoding="utf-8"))["pools"]["fingerprint"]
    for folder in sorted((world.cache / "pools").iterdir()):
        parts = [(folder / f"{part}.arrow").read_bytes() for part in ("transfer", "select", "report")]
        digests = "".join(hashlib.sha256(part).hexdigest() for part in parts)
        if hashlib.sha256(digests.encode()).hexdigest() == fingerprint:
            return folder
    raise AssertionError(f"{os.fspath(world.cache)} lacks the pools of {name}")


def cases(count: int, rng: random.Random) -> list[Case]:
    """So many different cases."""
    hows = ["together"] * TOGETHER + ["two processes"] * SEVERAL
    found: dict[str, Case] = {}
    while len(found) < count:
        how = hows[len(found)] if len(found) < len(hows) else "alone"
        name = rng.choices(RUNS, (2, 1))[0]
        kinds = [kind for kind in FILES if kind != "generator" or name == "adversarial"]
        if name == "adversarial" and rng.random() < 0.5:
            kinds = ["generator"]
        damages, shown = [], []
        several = rng.sample(kinds, min(len(kinds), rng.choice([1, 1, 1, 2])))
        # The two files of a corpus are made anew together, and the log may name only one of them.
        for kind in several[:1] if {"corpus", "corpus.json"} == set(several) else several:
            text, damage, said = drawn_damage(kind, rng)
            damages.append((kind, seed := rng.randrange(10**6), damage, said))
            shown.append(f"{kind}: {text} ({seed})")
        title = f"{name}, {how}: {'; '.join(shown)}"
        found[title] = Case(title, Plan(name, tuple(damages), how).run, limit=240 if how == "two processes" else 120)
    return list(found.values())
