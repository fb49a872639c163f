"""The manifest of a checkpoint: sizes and SHA-256 checksums of all its files, written when all of them are there."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import TrainerState
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from zskd.system.files import sha256_file, write_text
from zskd.system.plain_text import one_line
from zskd.training.so_far import FILE as SO_FAR

FILE = "manifest.json"
# In the trainer's state, which is written just before. A checkpoint of an older zskd has neither this nor a manifest.
_ANNOUNCED = "zskd_manifest"
# What the best student is loaded from.
WEIGHTS = ("*.safetensors", "*.bin", "*.index.json", "adapter_config.json")
# Trainer loads what it finds under some names, whether it wrote that or not.
_LOADED = (".pt", ".pth", ".bin", ".safetensors")
_WRONG = (OSError, ValueError, RecursionError, EOFError, zipfile.BadZipFile, NotImplementedError, SafetensorError)


@dataclass(frozen=True)
class Trouble:
    """Why a checkpoint cannot be used.

    Attributes:
        why: names the file.
        finished: False where the checkpoint's writing was cut short, as by a kill.
    """

    why: str
    finished: bool = True


def announce(state: TrainerState) -> None:
    """Note in the trainer's state that a manifest will follow, so that one that is lost is missed."""
    state.stateful_callbacks[_ANNOUNCED] = {"args": {}, "attributes": {}}


def write_manifest(checkpoint: Path) -> None:
    """Write the manifest of all files in a checkpoint's folder; temporary ones, with a leading dot, are left out."""
    files = {}
    for path in sorted(checkpoint.rglob("*")):
        name = path.relative_to(checkpoint)
        if path.is_file() and name.as_posix() != FILE and not any(part.startswith(".") for part in name.parts):
            files[name.as_posix()] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
    write_text(checkpoint / FILE, json.dumps({"files": files}, indent=1) + "\n")


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The trainer's state in a checkpoint.

    Raises:
        OSError, ValueError, RecursionError: it cannot be read, or is not the state of the step the folder is named by.
    """
    state = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    if not isinstance(state, dict) or type(state.get("global_step")) is not int:
        raise ValueError("expected the state of a training")
    named = re.fullmatch(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)", checkpoint.name)
    if named and int(named[1]) != state["global_step"]:
        raise ValueError(f"expected that of the step in the folder's name, found that of step {state['global_step']}")
    return state


def find_trouble(checkpoint: Path, *, only: tuple[str, ...] = ("*",)) -> Trouble | None:
    """Compare a checkpoint with its manifest.

    A checkpoint of an older zskd has none. It is accepted if all that resuming needs is there and can be opened.

    Args:
        only: patterns of the files to look at, such as `WEIGHTS`, from which the best student is loaded.

    Returns:
        What is wrong; None if nothing is.
    """
    try:
        manifest = (checkpoint / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return _trouble_without(checkpoint, only)
    except _WRONG as error:
        return Trouble(f"{FILE}: expected checksums, found: {one_line(error)}")
    try:
        files = {name: (int(held["size"]), str(held["sha256"])) for name, held in json.loads(manifest)["files"].items()}
    except (*_WRONG, AttributeError, KeyError, TypeError) as error:
        return Trouble(f"{FILE}: expected checksums, found: {one_line(error)}")
    if TRAINER_STATE_NAME not in files or not any(_matches(name, WEIGHTS) for name in files):
        return Trouble(f"{FILE}: expected checksums of weights and {TRAINER_STATE_NAME}, found none")
    if added := sorted(path.name for path in checkpoint.glob("*") if path.suffix in _LOADED and path.name not in files):
        return Trouble(f"{added[0]}: expected no such file, as {FILE} does not list it")
    for name, (size, checksum) in files.items():
        if _matches(name, only) and (why := _mismatch(checkpoint / name, size, checksum)):
            return Trouble(f"{name}: {why}")
    if only != ("*",):
        return None
    try:
        read_state(checkpoint)
    except _WRONG as error:
        return Trouble(f"{TRAINER_STATE_NAME}: {one_line(error)}")
    if not any(fnmatch(name, "*optim*") for name in files):
        return Trouble("it has no optimizer's state (save_only_model)")
    return None


def _mismatch(path: Path, size: int, checksum: str) -> str | None:
    try:
        if not path.is_file():
            return "expected a file, found a folder" if path.is_dir() else "expected a file, found none"
        if (found := path.stat().st_size) != size:
            return f"expected {size:,} bytes, found {found:,}"
        return None if sha256_file(path) == checksum else "expected the checksum of what was written, found another"
    except OSError as error:
        return f"expected a file, found: {one_line(error)}"


def _trouble_without(checkpoint: Path, only: tuple[str, ...]) -> Trouble | None:
    """What is wrong with a checkpoint that has no manifest."""
    try:
        state = read_state(checkpoint)
    except FileNotFoundError:
        return Trouble(f"its writing was cut short: it has no {TRAINER_STATE_NAME}", finished=False)
    except _WRONG as error:
        return Trouble(f"its writing was cut short: {TRAINER_STATE_NAME}: {one_line(error)}", finished=False)
    callbacks = state.get("stateful_callbacks")
    if isinstance(callbacks, dict) and _ANNOUNCED in callbacks:
        return Trouble(f"its writing was cut short: it has no {FILE}", finished=False)
    names = [path.relative_to(checkpoint).as_posix() for path in sorted(checkpoint.rglob("*")) if path.is_file()]
    needed = [OPTIMIZER_NAME, SCHEDULER_NAME, *_random_states(checkpoint, names)] if only == ("*",) else []
    if absent := [name for name in needed if name not in names]:
        return Trouble(f"{absent[0]}: expected a file, found none")
    if not any(_matches(name, WEIGHTS) for name in names):
        return Trouble("model.safetensors: expected a file, found none")
    for name in names:
        try:
            if _matches(name, only):
                _open(checkpoint / name)
        except _WRONG as error:
            return Trouble(f"{name}: {one_line(error)}")
    return None


def _random_states(checkpoint: Path, names: list[str]) -> list[str]:
    """Names of the processes' random states, of which there are as many as of their sums."""
    found = [name for name in names if fnmatch(name, "rng_state*.pth")]
    count = len(found)
    if SO_FAR in names:
        try:
            count = len(json.loads((checkpoint / SO_FAR).read_text(encoding="utf-8"))["pending"])
        except (*_WRONG, KeyError, TypeError):
            return [*found, f"{SO_FAR} with one sum for each process"]
    return ["rng_state.pth"] if count < 2 else [f"rng_state_{process}.pth" for process in range(count)]


def _open(path: Path) -> None:
    """Open a file as far as that shows whether it is whole: PyTorch's archives have checksums of their own.

    Raises:
        one of `_WRONG`: it is not.
    """
    if path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".safetensors":
        with safe_open(path, "np"):
            pass
    elif path.suffix in (".pt", ".pth", ".bin"):
        with zipfile.ZipFile(path) as archive:
            if bad := archive.testzip():
                raise ValueError(f"expected what was written, found another checksum of {bad}")


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    if patterns is WEIGHTS and name == TRAINING_ARGS_NAME:
        return False
    return any(fnmatch(name, pattern) for pattern in patterns)
