"""Flags with odd values: a verb, one to three of its options, and for each a value drawn by what the option takes.

Clean is a message for each problem and nothing written, or a value that is valid after all: then `validate` prints it.
"""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from recipes.faults import odd
from recipes.faults.case import ERROR, Case, complaints
from recipes.faults.commands import Done, run
from recipes.faults.odd import Odd
from recipes.faults.world import TASK, World
from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag
from zskd.config.resolve import field_type
from zskd.config.verbs import DiagnoseConfig, EvaluateConfig, FinetuneConfig, PredictConfig

LIMIT = 90.0  # seconds of a command; a run or an export whose odd values are valid takes up to twenty
LONGEST = 1_000  # characters of a message
SUFFIXES = ("", ".yaml", ".tsv", ".txt")
OUTPUT, CACHE = "new/output", "cache"  # in a case's own folder

# Options that are paths, with a suffix that is looked at; all others are names.
_PATHS = {
    "task": ".yaml", "teacher": "", "student": "", "generator": "", "corpus": ".txt", "gold_labels": ".tsv",
    "glue_dir": "", "output_dir": "", "cache_dir": "", "base": "", "adapter": "", "model": "", "input": ".txt",
    "output": ".txt", "data": ".tsv", "config": ".yaml", "template": "", "token_file": "", "RUN": "",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb that can be tried.

    Attributes:
        command: healthy arguments, by option; an option that has an odd value is left out of them.
        options: option -> type of its value: ``bool`` where it takes none.
    """

    name: str
    command: Callable[[World], dict[str, list[object]]]
    options: dict[str, type]


def _fields(cls: type) -> dict[str, type]:
    return {item.name: field_type(cls, item.name)[0] for item in dataclasses.fields(cls)}


def _distill(world: World) -> dict[str, list[object]]:
    return {"config": [world.options], "output_dir": [OUTPUT], "cache_dir": [CACHE]}


def _finetune(world: World) -> dict[str, list[object]]:
    _, *rest = world.finetune(Path(OUTPUT), Path(CACHE))
    return {
        str(name).removeprefix("--").replace("-", "_"): [value] for name, value in zip(*[iter(rest)] * 2, strict=True)
    }


VERBS = (
    Verb("validate", _distill, {**_fields(DistillConfig), "config": str}),
    Verb("distill", _distill, {**_fields(DistillConfig), "config": str, "publish": str}),
    Verb("finetune", _finetune, {**_fields(FinetuneConfig), "config": str}),
    Verb(
        "evaluate",
        lambda world: {"model": [world.teacher], "task": [TASK], "data": ["probe"], "cache_dir": [CACHE]},
        _fields(EvaluateConfig),
    ),
    Verb(
        "predict",
        lambda world: {"model": [world.teacher], "input": [world.lines], "output": [OUTPUT], "cache_dir": [CACHE]},
        _fields(PredictConfig),
    ),
    Verb(
        "diagnose",
        lambda world: {
            "model": [world.teacher],
            "task": [TASK],
            "corpus": [world.corpus],
            "texts": [64],
            "cache_dir": [CACHE],
        },
        _fields(DiagnoseConfig),
    ),
    Verb("report", lambda world: {"RUN": [world.run("random")], "output": [OUTPUT]}, {"RUN": str, "output": str}),
    Verb(
        "publish",
        lambda world: {"RUN": [world.run("random")], "repo_id": ["me/student"], "dry_run": []},
        dict.fromkeys(("RUN", "repo_id", "license", "template", "token_file"), str),
    ),
    Verb(
        "export",
        lambda world: {
            "RUN": [world.run("random")],
            "format": ["onnx"],
            "output_dir": [OUTPUT],
            "cache_dir": [CACHE],
        },
        dict.fromkeys(("RUN", "format", "quantize", "data", "task", "output_dir", "cache_dir"), str),
    ),
    Verb("ls", lambda world: {"cache_dir": [CACHE]}, {"cache_dir": str}),
)
# `validate` is the fastest, and finds what `distill` finds.
_WEIGHTS = {"validate": 6, "finetune": 3, "predict": 3, "evaluate": 2, "diagnose": 2}


def cases(count: int, rng: random.Random) -> list[Case]:
    """Cases of all verbs; three in ten have odd values in several options."""
    found: dict[str, Case] = {}
    # Every verb has a turn, then they are drawn.
    for verb in _verbs(rng):
        if len(found) == count:
            break
        several = 1 if rng.random() < 0.7 else rng.randint(2, 3)
        names = rng.sample(sorted(verb.options), min(several, len(verb.options)))
        values = {name: _value(name, verb.options[name], rng) for name in names}
        shown = ", ".join(f"{flag(name)} {value.kind}" for name, value in values.items())
        name = f"{verb.name}: {shown}"
        if name not in found:
            found[name] = Case(name, functools.partial(_try, verb, values), limit=LIMIT + 20)
    return list(found.values())


def _verbs(rng: random.Random) -> Iterator[Verb]:
    yield from VERBS
    weights = [_WEIGHTS.get(verb.name, 1) for verb in VERBS]
    while True:
        yield from rng.choices(VERBS, weights)


def _value(name: str, kind: type, rng: random.Random) -> Odd:
    if kind in (int, float):
        return odd.number(rng) if rng.random() < 0.9 else odd.text(rng)
    if kind is bool:
        return Odd("takes no value", rng.choice(["true", "1", "no", " "]))
    if name not in _PATHS or rng.random() < 0.4:
        return odd.text(rng)
    while "pipe" in (value := odd.path(rng, _PATHS[name])).kind and name == "output":
        pass  # what is written to a pipe waits for a reader
    return value


def _try(verb: Verb, values: dict[str, Odd], world: World, scratch: Path) -> list[str]:
    odd.make(scratch, SUFFIXES)
    before = odd.content(scratch)
    arguments: list[object] = []
    for name, healthy in verb.command(world).items():
        if name not in values:
            arguments += [*([] if name.isupper() else [flag(name)]), *healthy]
    for name, value in values.items():
        positional = name == "RUN" or (verb.name == "diagnose" and name == "model")
        # A value that begins with a hyphen belongs to its flag in this spelling.
        arguments += ["--", value.text] if positional else [f"{flag(name)}={value.text}"]
    if verb.name == "diagnose" and "model" not in values:
        at = arguments.index("--model")
        arguments = [*arguments[:at], *arguments[at + 1 :]]
    done = run(scratch, verb.name, *_positional_last(arguments), limit=LIMIT)
    # A rate at which training diverges is found in training.
    diverges = verb.name in ("distill", "finetune") and any(name.endswith("learning_rate") for name in values)
    found = complaints(done, (0, 1, 2) if diverges else (0, 2)) + error_lines(done)
    if done.code == 2 or (done.code == 1 and verb.name == "finetune"):
        if new := sorted(odd.content(scratch) - before):
            found.append(f"written although the input is wrong: {new[:5]}")
    elif done.code == 0 and verb.name == "validate":
        found += _printed(yaml.safe_load(done.out), values, verb.options)
    return found


def error_lines(done: Done) -> list[str]:
    """Complaints about what a command printed from its first error on: other lines, and long ones."""
    lines = done.err.splitlines()
    lines = lines[next((i for i, line in enumerate(lines) if line.startswith(ERROR)), len(lines)) :]
    found = [f"a line without `{ERROR}`: {line[:200]}" for line in lines if not line.startswith(ERROR)]
    return found + [f"a message of {len(line)} characters: {line[:200]}" for line in lines if len(line) > LONGEST]


def _positional_last(arguments: list[object]) -> list[object]:
    if "--" not in arguments:
        return arguments
    at = arguments.index("--")
    return [*arguments[:at], *arguments[at + 2 :], *arguments[at : at + 2]]


def _printed(printed: dict[str, Any], values: dict[str, Odd], options: dict[str, type]) -> list[str]:
    """Options that `validate` accepted and printed with another value."""
    found = []
    for name, value in values.items():
        kind = options[name]
        if name not in printed or kind is bool:
            continue
        wanted: Any = [value.text] if kind is list else value.text if kind is str else float(value.text)
        if name == "method":
            wanted = value.text.replace(",", " ").split()
        if printed[name] != wanted:
            found.append(f"{flag(name)}: expected {wanted!r} in what validate prints, found {printed[name]!r}")
    return found
