"""Malformed model folders: a drawn fault in a folder that a verb reads as teacher, student, base, adapter or generator.

What is refused is refused in one line that names the folder; what is read gives probabilities, and the same ones as the
healthy folder where the fault changes nothing. No command may take more memory than a few such models.
"""

from __future__ import annotations

import json
import math
import random
import resource
import shutil
from pathlib import Path

from recipes.faults.case import Case, complaints, errors
from recipes.faults.commands import Done, run
from recipes.faults.model_faults import Fault, change, field, inner, more, nested, vocabulary, whole
from recipes.faults.weight_faults import archive, index, tensors
from recipes.faults.world import TASK, World

LONGEST = 1_000  # characters of an error line besides the paths in it
MEMORY = 2 * 2**20  # KiB that a command may take besides the libraries
ADDRESSES = 8 * 2**30  # bytes: where something would take all memory, the machine lives on
WHOLE = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
ADAPTER = ["config.json", "adapter_config.json", "adapter_model.safetensors"]
# (verb, what the folder is read as); the quick ones are drawn more often.
WAYS = (
    [("predict", "teacher"), ("predict", "adapter"), ("evaluate", "teacher"), ("evaluate", "adapter")] * 3
    + [("finetune", "base"), ("publish", "student"), ("validate", "teacher"), ("validate", "student")] * 2
    + [("distill", role) for role in ("teacher", "student", "generator", "adapter")]
    + [("diagnose", "teacher"), ("diagnose", "adapter"), ("finetune", "adapter"), ("export", "teacher")]
)


def cases(count: int, rng: random.Random) -> list[Case]:
    """Draw verb, role and fault."""
    return [_case(number, rng) for number in range(count)]


def _case(number: int, rng: random.Random) -> Case:
    verb, role = rng.choice(WAYS)
    below = role == "adapter" and rng.random() < 0.3  # the fault is in the adapter's base
    fault = draw(rng, ADAPTER if role == "adapter" and not below else WHOLE)
    place = f"the base of the {role}" if below else role
    return Case(
        f"{number:03} {verb}, {place}: {fault.name}",
        lambda world, scratch: _try(world, scratch, verb, role, fault, below=below),
    )


def draw(rng: random.Random, files: list[str]) -> Fault:
    """Draw a fault of a folder that has these files."""
    kinds = [field] * 4 + [whole] * 2 + [tensors] * 2 + [archive, nested, more]
    if "model.safetensors" in files:
        kinds += [index]
    if "tokenizer.json" in files:
        kinds += [vocabulary, inner]
    return rng.choice(kinds)(rng, files)


def _try(world: World, scratch: Path, verb: str, role: str, fault: Fault, *, below: bool) -> list[str]:
    folder = shutil.copytree(world.folder / role, scratch / "model")
    spoiled = folder
    if below:
        spoiled = shutil.copytree(world.base, scratch / "base")
        change(folder / "adapter_config.json", base_model_name_or_path=str(spoiled))
    fault.make(spoiled)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = run(scratch, *command(world, scratch, verb, role, folder), prepare=limit_memory)
    found = complaints(done, {0, 2}, mentions=str(scratch)) + one_short_line(done)
    taken = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before
    if taken > MEMORY:
        found.append(f"took {taken // 1024:,} MiB")
    if done.code == 0 and verb == "predict":
        found += _wrong_shares(done)
        healthy = run(scratch, *command(world, scratch, verb, role, world.folder / role))
        if fault.harmless and done.out != healthy.out:
            found.append(f"expected the answers of the healthy folder, found {done.out[:200]}")
    if fault.harmless and done.code != 0 and role != "adapter" and verb != "publish":
        found.append(f"expected to be read, found {done.err[-300:]}")
    return found


def one_short_line(done: Done) -> list[str]:
    """Complaints of a refusal: one line, and no more than people read."""
    lines = errors(done)
    found = [f"expected one error line, found {len(lines)}: {lines}"] if done.code == 2 and len(lines) != 1 else []
    return found + [f"an error of {len(line)} characters: {line[:300]}" for line in lines if len(line) > LONGEST]


def _wrong_shares(done: Done) -> list[str]:
    for line in done.out.splitlines():
        shares = json.loads(line)["probabilities"].values()
        if not all(math.isfinite(share) for share in shares) or abs(sum(shares) - 1) > 1e-4:
            return [f"expected probabilities, found {line}"]
    return []


def limit_memory() -> None:
    """Let a command fail that would take all memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ADDRESSES,) * 2)


def command(world: World, scratch: Path, verb: str, role: str, folder: Path) -> list[object]:
    """The arguments with which a verb reads a folder as `role`."""
    cache = ["--cache-dir", scratch / "cache"]
    if verb == "predict":
        return ["predict", "--model", folder, "--input", world.lines, "--json"]
    if verb == "evaluate":
        return ["evaluate", "--model", folder, "--task", TASK, "--data", "probe", "--max-length", 32]
    if verb == "diagnose":
        return ["diagnose", folder, "--task", TASK, "--corpus", world.corpus, "--texts", 64, "--max-length", 32, *cache]
    if verb == "export":
        return ["export", folder, "--format", "onnx", "--output-dir", scratch / "onnx"]
    if verb == "publish":
        copy = shutil.copytree(world.run("random"), scratch / "run", ignore=shutil.ignore_patterns("checkpoints"))
        shutil.rmtree(copy / "student")
        shutil.copytree(folder, copy / "student", symlinks=True, copy_function=_copied)
        return ["publish", copy, "--repo-id", "me/small", "--dry-run"]
    if verb == "finetune":
        more = ["--base", folder] if role == "base" else ["--adapter", folder]
        return world.finetune(scratch / "teacher", scratch / "cache", *more)
    flags: list[object] = [f"--{'teacher' if role == 'adapter' else role}", folder]
    name = "adversarial" if role == "generator" else "random"
    if verb == "validate":
        arguments = world.distill(name, scratch / "run", scratch / "cache", *flags)
        return ["validate", *arguments[1:]]
    if role == "student":
        shutil.copytree(world.cache, scratch / "cache")  # so that the teacher need not be asked
    return world.distill(name, scratch / "run", scratch / "cache", *flags, "--epochs", 1)


def _copied(source: str, target: str) -> str:
    """Move what is no regular file, which copying would wait for."""
    if Path(source).is_file() and Path(source).stat().st_size < 10**9:
        return str(shutil.copy2(source, target))
    return str(shutil.move(source, target))
