"""Hostile folders: models, adapters, runs, tasks and text that try to run code, or to reach what is outside of them.

Whatever tries to run code would write a file, the marker, which must never be there. A file outside holds a secret,
which no output may contain. Standard input is closed, empty or says yes to everything.
"""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable
from pathlib import Path

from recipes.faults import attacks
from recipes.faults.case import Case, complaints
from recipes.faults.commands import run
from recipes.faults.models import one_short_line
from recipes.faults.world import World

STDIN: dict[str, bytes | None] = {"closed": None, "empty": b"", "consenting": b"yes\n" * 50}


def _draw(rng: random.Random) -> tuple[str, attacks.Attack]:
    """A name and an attack, from a large space."""
    kind = rng.choice(["code", "code", "pickle", "pickle", "beside", "reaching", "reaching", "adapter", "run",
                       "checkpoint", "published", "task", "corpus", "shadow"])  # fmt: skip
    verb, role = rng.choice(attacks.READING)
    if kind == "code":
        names = rng.choice([("config.json",), ("tokenizer_config.json",), ("config.json", "tokenizer_config.json"),
                            ("generation_config.json",), ("config.json", "generation_config.json")])  # fmt: skip
        return f"{verb}, {role}: code named in {' and '.join(names)}", attacks.own_code(verb, role, names)
    if kind == "pickle":
        name = "pytorch_model.bin"
        if rng.random() < 0.4:
            (verb, role), name = rng.choice(attacks.ADAPTED), "adapter_model.bin"
        how = rng.choice(["pickle", "archive", "old archive"])
        return f"{verb}, {role}: {name} as a hostile {how}", attacks.unpickled(verb, role, name, how)
    if kind == "beside":
        name = rng.choice(attacks.BESIDE)
        return f"{verb}, {role}: a hostile {name} besides", attacks.beside(verb, role, name)
    if kind == "reaching":
        what = rng.choice(["index upwards", "index from the root", "vocab_file", "tokenizer_file", "merges_file",
                           "chat template", "config.json", "tokenizer.json", "model.safetensors", "vocab.txt",
                           "special_tokens_map.json", "added_tokens.json"])  # fmt: skip
        return f"{verb}, {role}: {what} reaches outside", attacks.reaching(verb, role, what)
    if kind == "adapter":
        verb, role = rng.choice(attacks.ADAPTED)
        values = rng.choice(
            ["megatron", "auto_mapping", "unknown kind", "itself as base", "code as base", "secret as base"]
        )
        return f"{verb}, adapter: {values}", attacks.adapter(verb, values)
    if kind == "run":
        verb = rng.choice(["diagnose", "report", "publish", "evaluate", "predict"])
        field = rng.choice(["teacher", "student", "corpus", "method", "generator", "report_to"])
        return f"{verb} RUN: its {field} is a function", attacks.run_with_code(verb, field)
    if kind == "checkpoint":
        name = rng.choice(["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "scaler.pt"])
        known = rng.random() < 0.5
        return f"--resume: a hostile {name}{' with its checksum' * known}", attacks.checkpoint(name, known=known)
    if kind == "published":
        what = rng.choice(["token in config.json", "token in tokenizer_config.json", "token in tokenizer.json",
                           "token in model.safetensors", "student is a link", "link model.safetensors",
                           "link tokenizer.json", "link config.json", "names of the card"])  # fmt: skip
        return f"publish: {what}", attacks.published(what)
    if kind == "task":
        what = rng.choice(["probe /etc/passwd", "probe secret", "probe pipe", "a call", "a module", "teacher of code"])
        return f"task file: {what}", attacks.task(what)
    if kind == "corpus":
        what = rng.choice(["script", "pkl", "npy", "npz", "arrow", "parquet", "jsonl", "csv", "txt"])
        return f"corpus: {what}", attacks.corpus(what)
    module = rng.choice(attacks.SHADOWS)
    return f"two processes beside a {module}.py", attacks.shadow(module)


def cases(count: int, rng: random.Random) -> list[Case]:
    """Draw attacks, and what standard input says."""
    found = []
    for number in range(count):
        (name, attack), stdin, seed = _draw(rng), rng.choice(list(STDIN)), rng.getrandbits(32)
        found.append(Case(f"{number:03} {name} (stdin {stdin})", _trial(attack, stdin, seed)))
    return found


def _trial(attack: attacks.Attack, stdin: str, seed: int) -> Callable[[World, Path], list[str]]:
    def trial(world: World, scratch: Path) -> list[str]:
        place = attacks.Place(world, scratch, random.Random(seed))
        place.here.mkdir()
        place.secret.parent.mkdir()
        place.secret.write_text(f"{attacks.SECRET}\t1\n", encoding="utf-8")
        arguments = attack(place)
        outside = _state(place.secret.parent)
        # As `python -m zskd` has it, which finds modules in the working folder.
        prepare = functools.partial(sys.path.insert, 0, str(place.here))
        done = run(scratch, *arguments, folder=place.here, stdin=STDIN[stdin], limit=100, prepare=prepare)
        # A checkpoint is looked at when it is resumed, so a wrong one is a run that fails, not wrong input.
        found = complaints(done, {0, 1, 2} if "--resume" in arguments else {0, 2}) + one_short_line(done)
        if place.marker.exists():
            found.append("the folder's code ran")
        # A message may quote the header of a file that the user's task names; nobody else reads it.
        if attacks.SECRET in done.out or attacks.TOKEN in done.out + done.err:
            found.append("what lies outside is in the output")
        if _state(place.secret.parent) != outside:
            found.append("something outside was changed")
        for folder in ("run", "teacher", "cache", "onnx", "here"):
            written = (scratch / folder).rglob("*")
            found += [f"what lies outside is in {path}" for path in written if _has_secret(path)]
        return found

    return trial


def _state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _has_secret(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and attacks.SECRET.encode() in path.read_bytes()
