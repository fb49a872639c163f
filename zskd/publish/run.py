"""A finished run, as its folder tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zskd.errors import InputError

_NEEDED = ("config.yaml", "record.json", "metrics.json")


@dataclass(frozen=True)
class FinishedRun:
    """What a run folder holds.

    Attributes:
        config: the resolved options, ``config.yaml``.
        record: ``record.json``: the task, fingerprints, revisions, versions.
        metrics: ``metrics.json``.
        analysis: ``analysis.json``; None for a run that was made before there was one.
        transfer_set: ``transfer_set.json``; None likewise.
    """

    path: Path
    config: dict[str, Any]
    record: dict[str, Any]
    metrics: dict[str, Any]
    analysis: dict[str, Any] | None
    transfer_set: dict[str, Any] | None

    @property
    def student(self) -> Path:
        """Folder of the student."""
        return self.path / "student"

    @property
    def task(self) -> dict[str, Any]:
        """The task's definition, as `zskd.tasks.Task` has it."""
        task: dict[str, Any] = self.record["task"]
        return task


def read_run(path: str | Path) -> FinishedRun:
    """Read a finished run.

    Raises:
        InputError: no folder, no run folder, a run that is not finished, or files that are not a run's.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(f"{path}: expected the folder of a finished run, found none")
    if not (folder / "config.yaml").is_file():
        hint = "; name the run's folder, not the student's" if (folder.parent / "config.yaml").is_file() else ""
        raise InputError(f"{path}: expected the folder of a finished run, found no config.yaml in it{hint}")
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing or not (folder / "student").is_dir():
        raise InputError(
            f"{path}: expected a finished run, found no {', '.join(missing or ['student'])}; repeat its `zskd distill` "
            "command with --resume"
        )
    parts = {name: _read(folder / name) for name in _NEEDED}
    wanted = {"config.yaml": "task", "record.json": "task", "metrics.json": "student"}
    for name, key in wanted.items():
        if key not in parts[name]:
            raise InputError(f"{folder / name}: expected what a finished run writes, found no {key!r} in it")
    config, record, metrics = parts.values()
    return FinishedRun(
        folder, config, record, metrics, _optional(folder, "analysis"), _optional(folder, "transfer_set")
    )


def _optional(folder: Path, name: str) -> dict[str, Any] | None:
    path = folder / f"{name}.json"
    return _read(path) if path.is_file() else None


def _read(path: Path) -> dict[str, Any]:
    """A mapping from a JSON or YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
        found = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path}: expected what a finished run writes, found: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected what a finished run writes, found a {type(found).__name__}")
    return found
