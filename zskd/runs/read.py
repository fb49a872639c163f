"""Reading the folder of a finished run, with clear errors if it is missing, unfinished or damaged."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from zskd.config.distillation import DistillConfig
from zskd.config.resolve import read_yaml, resolve
from zskd.errors import InputError
from zskd.runs.shapes import wrong_part
from zskd.system.files import sha256_file
from zskd.system.paths import exists, expanded, found_at, is_file, is_folder
from zskd.system.plain_text import one_line
from zskd.system.yaml_text import load_yaml
from zskd.tasks.defaults import with_task_defaults

# The content of a file, for messages, and its required keys.
_CONTENT = {"config.yaml": "the options of a distillation", "metrics.json": "the results of a run"}
_KEYS: dict[str, tuple[str, ...]] = {
    "config.yaml": ("task",),
    "metrics.json": (
        "task",
        "seed",
        "teacher",
        "student",
        "retention",
        "retention_above_chance",
        "agreement",
        "transfer_set",
        "steps",
        "seconds",
        "versions",
    ),
}

# What runs did before there was the option, if it was not what is now the default.
FORMERLY = {"start_from": "none", "optimizer": "adamw"}


@dataclass(frozen=True)
class FinishedRun:
    """The content of a finished run's folder.

    Attributes:
        config: the resolved options, ``config.yaml``.
        metrics: ``metrics.json``.
        record: ``record.json``: the task, fingerprints, revisions, versions; empty if it is missing.
        analysis: ``analysis.json``; None for runs of versions that did not write it.
        transfer_set: ``transfer_set.json``; None for runs of versions that did not write it.
    """

    path: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    record: dict[str, Any]
    analysis: dict[str, Any] | None
    transfer_set: dict[str, Any] | None

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.path.resolve().name

    @property
    def student(self) -> Path:
        """Folder of the student."""
        return self.path / "student"

    @property
    def task(self) -> dict[str, Any]:
        """The task's definition, as `zskd.tasks.task.Task` has it."""
        task: dict[str, Any] = self.record["task"]
        return task


def read_part(folder: Path, name: str, kind: type[dict[str, Any]] | type[list[Any]] = dict) -> Any:
    """Content of a YAML or JSON file of a run; None if there is no such file.

    Args:
        kind: type of the content, dict or list.

    Raises:
        InputError: the file cannot be read or parsed, or its content is not what zskd writes (`zskd.runs.shapes`).
    """
    path = folder / name
    language = "YAML" if path.suffix == ".yaml" else "JSON"
    try:
        found = load_yaml(path, str(path)) if language == "YAML" else json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8 text, or no JSON
        raise InputError(f"{path}: expected {language}, found: {one_line(error)}") from error
    content = _CONTENT.get(name, "what zskd writes there")
    if not isinstance(found, kind):
        raise InputError(f"{path}: expected {content}, found a {type(found).__name__}")
    if absent := [key for key in _KEYS.get(name, ()) if key not in found]:
        raise InputError(f"{path}: expected {content}, found no {', '.join(absent)} in it")
    if wrong := wrong_part(name, found):
        raise InputError(f"{path}: expected {content}, found {wrong}")
    return found


def read_run(path: str | Path, needs: Sequence[str] = ()) -> FinishedRun:
    """Read a finished run.

    Args:
        needs: files or folders that are required beside ``config.yaml`` and ``metrics.json``.

    Raises:
        InputError: it is not a run folder, the run is not finished, one of `needs` is missing, or a file is damaged.
    """
    folder = expanded(path)
    if not is_folder(folder):
        found = found_at(folder) if exists(folder) else "no such folder"
        raise InputError(f"{path}: expected the folder of a finished run, found none ({found})")
    config = read_part(folder, "config.yaml")
    if config is None:
        inside = (folder.parent / "config.yaml").is_file()
        hint = f"; name the run's folder, not the student's: did you mean {folder.parent}?" if inside else ""
        raise InputError(f"{path}: expected the folder of a finished run, found no config.yaml in it{hint}")
    if absent := [name for name in ("metrics.json", *needs) if not (folder / name).exists()]:
        command = ["zskd", "distill", "--config", str(folder / "config.yaml"), "--output-dir", str(path), "--resume"]
        raise InputError(
            f"{path}: expected a finished run, found no {', '.join(absent)} in it; finish it with "
            f"`{shlex.join(command)}`"
        )
    return FinishedRun(
        path=folder,
        config=_typed(config, folder / "config.yaml"),
        metrics=read_part(folder, "metrics.json"),
        record=read_part(folder, "record.json") or {},
        analysis=read_part(folder, "analysis.json"),
        transfer_set=read_part(folder, "transfer_set.json"),
    )


@contextmanager
def as_this_version_writes(folder: Path) -> Iterator[None]:
    """Turn what is raised over a value that a run of another version lacks into an InputError that names the folder."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{folder}: its files are not what this version of zskd writes: {error!r}") from error


def _typed(options: dict[str, Any], path: Path) -> dict[str, Any]:
    """Options with the types that this version gives them; those of other versions stay as they are.

    Raises:
        InputError: one has another type.
    """
    known = {item.name for item in fields(DistillConfig)}
    config, problems = resolve(DistillConfig, None, {key: value for key, value in options.items() if key in known})
    if problems:
        raise InputError([f"{path}: {problem}" for problem in problems])
    return {key: getattr(config, key) if key in known else value for key, value in options.items()}


def check_student(run: Path) -> None:
    """Check that a run's student has the weights that the run ended with, whose results ``metrics.json`` has.

    Raises:
        InputError: it has others. Runs of versions that noted no checksum are not looked at.
    """
    metrics = read_part(run, "metrics.json")
    noted = metrics["student"].get("sha256") if metrics else None
    weights = run / "student" / "model.safetensors"
    if noted is not None and (not weights.is_file() or sha256_file(weights) != noted):
        found = "others" if weights.exists() else "none"
        raise InputError(
            f"{weights}: expected the weights that the run ended with, found {found}; put the file back, distil "
            "again in another folder, or copy the folder elsewhere to use it as it is"
        )


def run_config(name: str) -> DistillConfig | None:
    """Options of the run in a folder; None if `name` is not a run folder.

    Raises:
        InputError: the run's configuration does not match this version.
    """
    path = expanded(name) / "config.yaml"
    if not name or not is_file(path) or not is_file(path.with_name("record.json")):
        return None
    config, problems = resolve(DistillConfig, str(path), {})
    if problems:
        raise InputError(problems)
    return with_task_defaults(dataclasses.replace(config, **_formerly(read_yaml(str(path)))))


def _formerly(options: dict[str, Any]) -> dict[str, Any]:
    """What a run did about the options that its file does not have yet."""
    return {name: value for name, value in FORMERLY.items() if name not in options}
