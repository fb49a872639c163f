"""Damage to what a run keeps: its checkpoints before ``--resume``, and the files of its folder before every verb."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from recipes.faults.case import Case, complaints, tail
from recipes.faults.commands import LIMIT, Done, run, start
from recipes.faults.world import RUNS, World, files_of

OF_CHECKPOINTS = 24  # of 40 cases; the others damage files of a finished run
FILES = (
    "config.yaml", "record.json", "calls.json", "history.json", "transfer_set.json", "analysis.json", "metrics.json",
    "diagnosis.json", "published.json", "adversarial.json", "disagreements.json", "student/config.json",
    "student/model.safetensors", "student/tokenizer.json", "student/tokenizer_config.json",
)  # fmt: skip
VERBS = ("report", "compare", "publish", "diagnose", "evaluate", "predict", "export", "resume", "ls")
WRONG: tuple[Any, ...] = (
    None,
    True,
    "x",
    "",
    0,
    -1,
    2.5,
    float("nan"),
    float("inf"),
    1e308,
    10**30,
    [],
    {},
    [[]],
    ["a"],
    {"a": 1},
)
HOW = ("flip", "cut", "remove", "empty", "junk", "folder", "swap")
WHOSE = ("newest", "newest", "newest", "older", "all")


def cases(count: int, rng: random.Random) -> list[Case]:
    """Different cases: damaged checkpoints, and damaged files of a finished run."""
    share = round(count * OF_CHECKPOINTS / 40)
    found: dict[str, Case] = {}
    while len(found) < count:
        case = _checkpoint_case(rng) if len(found) < share else _file_case(rng)
        found.setdefault(case.name, case)
    return list(found.values())


# Checkpoints


def _checkpoint_case(rng: random.Random) -> Case:
    name, stop = rng.choice(RUNS), rng.choice(("ended", "ended", "killed"))
    saves, whose, count = rng.randint(2, 5), rng.choice(WHOSE), rng.choice((1, 1, 2, 3))
    how, manifest, seed = rng.choice(HOW), rng.choice(("", "", "", "lost", "damaged")), rng.randrange(10**6)
    words = f"{name}, {stop if stop == 'ended' else f'killed at save {saves}'}: {how} {count} of {whose}, {seed}"
    words += f", manifest {manifest}" if manifest else ""

    def try_it(world: World, scratch: Path) -> list[str]:
        output, cache = scratch / "run", scratch / "cache"
        shutil.copytree(world.cache, cache)
        if stop == "ended":
            _unfinish(world.run(name), output)
        elif not _kill(world, scratch, name, saves):
            return ["the run ended before it could be killed"]
        there = _newest_first(output)
        draw = random.Random(seed)
        for checkpoint in {"newest": there[:1], "older": there[1:], "all": there}[whose]:
            _damage_checkpoint(checkpoint, there, count, how, manifest, draw)
        return _resumed(world, scratch, name, there)

    return Case(words, try_it)


def _unfinish(source: Path, output: Path) -> None:
    """A copy of a finished run as a kill after its training leaves it."""
    shutil.copytree(source, output, ignore=shutil.ignore_patterns("metrics.json", "report.html", "student"))


def _kill(world: World, scratch: Path, name: str, saves: int) -> bool:
    """Start a run and kill it when it has written so many checkpoints."""
    seen: set[str] = set()

    def written() -> bool:
        seen.update(path.parent.name for path in (scratch / "run" / "checkpoints").glob("checkpoint-*/manifest.json"))
        return len(seen) >= saves

    command = start(scratch, *world.distill(name, scratch / "run", scratch / "cache"))
    reached = command.until(written)
    command.kill()
    return reached


def _newest_first(output: Path) -> list[Path]:
    whole = [path.parent for path in (output / "checkpoints").glob("checkpoint-*/manifest.json")]
    return sorted(whole, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def _damage_checkpoint(
    checkpoint: Path, there: list[Path], count: int, how: str, manifest: str, draw: random.Random
) -> None:
    names = sorted(name for name in files_of(checkpoint) if name != "manifest.json")
    for name in draw.sample(names, min(count, len(names))):
        path = checkpoint / name
        if how == "swap":
            others = [other / name for other in there if other != checkpoint and (other / name).is_file()]
            if not others:
                continue
            mine, theirs = path.read_bytes(), others[0].read_bytes()
            path.write_bytes(theirs)
            others[0].write_bytes(mine)
        else:
            damage_bytes(path, how, draw)
    if manifest == "lost":
        (checkpoint / "manifest.json").unlink()
    elif manifest == "damaged":
        damage_bytes(checkpoint / "manifest.json", draw.choice(("flip", "cut", "empty", "junk")), draw)


def damage_bytes(path: Path, how: str, draw: random.Random) -> None:
    """Damage a file: ``flip`` a few bits, ``cut``, ``remove``, ``empty``, ``junk``, or a ``folder`` in its place."""
    content = bytearray(path.read_bytes())
    if how in ("remove", "folder"):
        path.unlink()
        if how == "folder":
            path.mkdir()
    elif how == "flip" and content:
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
    else:
        kept = draw.randrange(len(content)) if how == "cut" and content else 0
        path.write_bytes(content[:kept] if how != "junk" else draw.randbytes(draw.randint(1, 4000)))


def _resumed(world: World, scratch: Path, name: str, there: list[Path]) -> list[str]:
    """Resume: the student is the undisturbed one, or one line says what is damaged; never another student."""
    held = {path.name: _is_whole(path) for path in there}
    output, cache = scratch / "run", scratch / "cache"
    done = run(scratch, *world.distill(name, output, cache, "--resume"))
    found = complaints(done, {0} if held[there[0].name] and all(held.values()) else {0, 1}, mentions="checkpoint-")
    if done.code == 0:
        found += world.differences(name, output)
        if not held[there[0].name] and f"{there[0].name}: passed over: " not in done.err:
            found.append(f"no line says that {there[0].name} was passed over: {tail(done.err)}")
    elif (output / "student").exists() or (output / "metrics.json").exists():
        found.append("the run failed, and left a student")
    return found


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is as it was written, as its untouched manifest says."""
    try:
        files = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))["files"]
        found = files_of(checkpoint)
        return all(found.get(name) == entry["sha256"] for name, entry in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


# Files of a finished run


def _file_case(rng: random.Random) -> Case:
    name, file, verb = rng.choice(RUNS), rng.choice(FILES), rng.choice(VERBS)
    how = rng.choice(("value", "value", "value", "drop", "flip", "cut", "empty", "junk", "folder", "remove", "deep"))
    seed = rng.randrange(10**6)

    def try_it(world: World, scratch: Path) -> list[str]:
        output = scratch / "run"
        shutil.copytree(world.run(name), output, ignore=shutil.ignore_patterns("checkpoints"))
        if file == "diagnosis.json":
            done = run(scratch, "diagnose", output, "--texts", 120, "--cache-dir", scratch / "cache")
            if done.code:
                return complaints(done, {0})
        if file == "published.json":
            (output / file).write_text('{"me/small": {"commit": "0", "files": ["README.md"]}}', encoding="utf-8")
        if not (output / file).is_file():
            (output / file).write_text("[]", encoding="utf-8")
        done = _damage_and_run(world, name, scratch, output / file, verb, how, random.Random(seed))
        named = file if verb in ("report", "compare", "publish") and not file.startswith("student") else None
        found = complaints(done, {0, 1, 2} if verb == "resume" else {0, 2}, mentions=named)
        return [] if verb == "ls" and done.code == 0 else found

    return Case(f"{verb} after {how} of {file} of {name}, {seed}", try_it)


def _damage_and_run(
    world: World, name: str, scratch: Path, path: Path, verb: str, how: str, draw: random.Random
) -> Done:
    output = scratch / "run"
    if how in ("value", "drop") and path.suffix in (".json", ".yaml"):
        damage_value(path, draw, drop=how == "drop")
    elif how == "deep":
        path.write_text("[" * draw.randint(10**3, 10**5), encoding="utf-8")
    else:
        damage_bytes(path, how if how not in ("value", "drop") else "flip", draw)
    cache = scratch / "cache"
    commands: dict[str, Callable[[], list[object]]] = {
        "report": lambda: ["report", output],
        "compare": lambda: ["report", output, world.run("random"), "--output", scratch / "two.html"],
        "publish": lambda: ["publish", output, "--repo-id", "me/small", "--dry-run"],
        "diagnose": lambda: ["diagnose", output, "--texts", 120, "--cache-dir", scratch / "cache"],
        "evaluate": lambda: ["evaluate", "--model", output, "--task", "sst2", "--data", world.glue / "SST-2/dev.tsv"],
        "predict": lambda: ["predict", "--model", output, "--input", world.lines],
        "export": lambda: ["export", output, "--format", "onnx", "--output-dir", scratch / "exported"],
        "resume": lambda: world.distill(name, output, cache, "--resume"),
        "ls": lambda: ["ls", "--cache-dir", output],
    }
    if verb == "resume":
        shutil.copytree(world.cache, cache)
    return run(scratch, *commands[verb](), limit=LIMIT)


def damage_value(path: Path, draw: random.Random, *, drop: bool) -> None:
    """Put a value of another kind at a drawn place of a JSON or YAML file, or take the place away."""
    text = path.read_text(encoding="utf-8")
    content = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    places = _places(content, ())
    if not places:
        content = draw.choice(WRONG)
    else:
        shallow = [place for place in places if len(place) <= 2]
        place = draw.choice(places if draw.random() < 0.5 else shallow)
        inner = content
        for key in place[:-1]:
            inner = inner[key]
        if drop:
            del inner[place[-1]]
        else:
            inner[place[-1]] = draw.choice(WRONG)
    path.write_text(yaml.safe_dump(content) if path.suffix == ".yaml" else json.dumps(content), encoding="utf-8")


def _places(content: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, part in parts for place in ((*path, key), *_places(part, (*path, key)))]
