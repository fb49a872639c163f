"""The run folder: its files, and checks that a run may start or continue in it.

RUN/config.yaml      the resolved configuration; usable with --config
RUN/record.json      versions, the kind of machine, fingerprints and revisions, written before training
RUN/calls.json       per call of `zskd distill` that reached training: when it began, seconds before, texts asked
RUN/checkpoints/     Trainer's checkpoints
RUN/history.json     Trainer's log
RUN/student/         the finished student
RUN/analysis.json    confusion, reliability and latency (`zskd.evaluation.results.analysis`)
RUN/disagreements.json   held-out inputs on which the models differ most (`zskd.metrics.disagreements`)
RUN/diagnosis.json   what `zskd diagnose RUN` found
RUN/metrics.json     the results
RUN/published.json   what was last published, per repository (`zskd.publish`)
RUN/report.html      the report (`zskd.report`)
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag
from zskd.config.resolve import to_dict
from zskd.errors import InputError
from zskd.runs.read import FORMERLY, read_part
from zskd.runs.start_record import Start
from zskd.system.files import write_problem, write_text
from zskd.system.os_faults import writing
from zskd.system.paths import exists, found_at, is_folder
from zskd.system.unfinished import clear_unfinished, held_name
from zskd.tasks.task import find_task, task_name

# Options that may differ between a run and its continuation, because no student depends on them. With gold labels that
# have bad rows, a run without `skip_bad_rows` ends before it has a folder.
FREE_OPTIONS = (
    "resume", "output_dir", "cache_dir", "report_to", "glue_dir", "hub_eval", "skip_bad_rows", "num_processes",
    "teacher_retries",
)  # fmt: skip

CALLS = "calls.json"
CONFIG = "config.yaml"

_LIBRARIES = (
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "evaluate",
    "peft",
    "tokenizers",
    "huggingface_hub",
    "numpy",
)


def versions() -> dict[str, str]:
    """Versions of zskd, Python and the libraries a result may depend on."""
    from zskd import __version__

    found = {"zskd": __version__, "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in _LIBRARIES}


def run_path(config: DistillConfig) -> Path:
    """The run folder of a configuration."""
    return Path(config.output_dir or f"runs/{task_name(config.task)}-{config.seed}")


def blocking_file(path: Path) -> Path | None:
    """The nearest existing ancestor of `path`, or `path` itself, if it is not a folder; else None."""
    existing = next(item for item in (path, *path.absolute().parents) if found_at(item) != "none")
    return None if is_folder(existing) else existing


def _held_options(path: Path) -> dict[str, Any] | None:
    """Options of the run in `path`; None if its ``config.yaml`` is missing or not zskd's."""
    try:
        held: dict[str, Any] | None = read_part(path, "config.yaml")
    except InputError:
        return None
    return held


def task_definition(name: str) -> dict[str, Any]:
    """A task's content for the record, because a task file may change later."""
    definition: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(find_task(name))))
    return definition


def _recorded_task(path: Path) -> dict[str, Any] | None:
    try:
        return (read_part(path, "record.json") or {}).get("task")
    except InputError:
        return None


def _pool_seed(options: dict[str, Any]) -> Any:
    """Seed of the inputs, whether it was named or left to its default."""
    return options["seed"] if options["pool_seed"] is None else options["pool_seed"]


def check_run_folder(path: Path, config: DistillConfig) -> list[str]:
    """Problems with writing (or continuing) this run in `path`."""
    shown = f"--output-dir {path}"
    if blocked := blocking_file(path):
        return [f"{shown}: expected a folder, found {found_at(blocked)} at {blocked}"]
    if problem := write_problem(path):
        return [f"{shown}: expected a folder that can be written, found: {problem}; name another folder"]
    try:
        # A run that was killed while it wrote its first file has left the folder of that.
        if not exists(path) or all(held_name(item) == CONFIG for item in path.iterdir()):
            return []
    except OSError as error:
        return [f"{shown}: expected a folder that can be read, found: {error.strerror}"]
    held = _held_options(path)
    if held is None:
        return [f"{shown}: expected an empty or new folder, found other files in it"]
    # An older run lacks what was the only way then.
    wanted, held = to_dict(config), to_dict(DistillConfig()) | FORMERLY | held
    # `RunFolder.check_start` compares starts, by what they are.
    free = (*FREE_OPTIONS, "start_from", *(("pool_seed",) if _pool_seed(held) == _pool_seed(wanted) else ()))
    different = [key for key in wanted if key not in free and held[key] != wanted[key]]
    if different:
        changes = ", ".join(f"{key} {held[key]!r} there, {wanted[key]!r} here" for key in different[:4])
        advice = ""
        if FORMERLY.keys() >= set(different):
            advice = f", or pass {' '.join(f'{flag(key)} {held[key]}' for key in different)} to continue it"
        return [f"{shown}: holds another run ({changes}); choose another folder{advice}"]
    if _recorded_task(path) not in (None, task_definition(config.task)):
        return [f"{shown}: holds a run of another definition of {config.task}; choose another folder"]
    if links := sorted(item.name for item in path.iterdir() if item.is_symlink()):
        return [f"{shown}: expected files and folders of its own, found links, which are not followed: {links[0]}"]
    if not config.resume:
        return [f"{shown}: holds this run already; pass --resume to continue it, or choose another folder"]
    return []


class RunFolder:
    """Writes a run's files and times its phases.

    Attributes:
        seconds: phase -> wall-clock seconds of this call.
        began: date and time (UTC) of this call, in ISO 8601.
    """

    def __init__(self, config: DistillConfig) -> None:
        self.path = run_path(config)
        self.config = config
        self.seconds: dict[str, float] = {}
        self.began = datetime.now(UTC).isoformat(timespec="seconds")

    @property
    def checkpoints(self) -> Path:
        """Folder of Trainer's checkpoints."""
        return self.path / "checkpoints"

    @property
    def student(self) -> Path:
        """Folder of the finished student."""
        return self.path / "student"

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase."""
        started = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 2)

    def earlier_calls(self) -> list[dict[str, Any]]:
        """What `start` noted of the calls before this one, which were ended and resumed."""
        return (read_part(self.path, CALLS, list) or [])[:-1]

    def all_seconds(self, trained_before: float = 0.0) -> dict[str, float]:
        """Phase -> seconds over all calls, and their ``total``.

        Args:
            trained_before: seconds of training in earlier calls, up to the checkpoints they were resumed from.
        """
        found = dict(self.seconds)
        for call in self.earlier_calls():
            for name, value in call["seconds"].items():
                found[name] = found.get(name, 0.0) + value
        found["training"] = found.get("training", 0.0) + trained_before
        found = {name: round(value, 2) for name, value in found.items()}
        return {**found, "total": round(sum(found.values()), 2)}

    def check_inputs(self, fingerprint: str) -> None:
        """Check that checkpoints, if there are any, are of a training on these inputs.

        Args:
            fingerprint: of the inputs (`zskd.text.shaping.Pools`).

        Raises:
            InputError: they are of one on others, which going on would mix with these.
        """
        held = self._began_with().get("pools", {}).get("fingerprint")
        if held in (None, fingerprint):
            return
        raise InputError(
            f"--resume: expected the inputs that the training in {self.path} began with, found others: the text is "
            f"another, or this version of zskd shapes it in another way; choose another folder, or remove "
            f"{self.checkpoints} to train from the beginning"
        )

    def check_start(self, start: Start | None) -> None:
        """Check that checkpoints, if there are any, are of a training that began with this start, or without one.

        Raises:
            InputError: they are of one that began with another.
        """
        began = self._began_with()
        held = began.get("student", {}).get("start")
        if not began or (held and held["fingerprint"]) == (start and start.record["fingerprint"]):
            return
        if held is None:
            raise InputError(
                f"--start-from {self.config.start_from}: the training in {self.path} began with random layers; use "
                "--start-from none to continue it"
            )
        named, now = f"{held['name']}, fingerprint {held['fingerprint'][:16]}", "another one" if start else "none"
        raise InputError(
            f"--start-from {self.config.start_from}: expected the start that the training in {self.path} began with "
            f"({named}), found {now}; name that start, or remove {self.checkpoints} to train from the beginning"
        )

    def _began_with(self) -> dict[str, Any]:
        """The record of a run with checkpoints; empty where there are none, or where it is damaged and written anew."""
        try:
            record: dict[str, Any] = read_part(self.path, "record.json") or {}
        except InputError:
            return {}
        return record if any(self.checkpoints.glob("checkpoint-*")) else {}

    def start(self, record: dict[str, Any], transfer_set: dict[str, Any], live: int = 0) -> None:
        """Create the folder with configuration, record and transfer-set report. Nothing is written there before.

        Args:
            live: texts that the teacher answered in this call until now.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        # The configuration comes first, because the run can be resumed as soon as it exists.
        machine = {"output_dir": None, "cache_dir": None, "num_processes": None}
        options = {**to_dict(self.config), "resume": False, **machine}
        write_text(self.path / CONFIG, yaml.safe_dump(options, sort_keys=False))
        record = {"task": task_definition(self.config.task), **record}
        write_text(self.path / "record.json", json.dumps(record, indent=2) + "\n")
        write_text(self.path / "transfer_set.json", json.dumps(transfer_set, indent=1) + "\n")
        calls = read_part(self.path, CALLS, list) or []
        calls.append({"began": self.began, "seconds": self.seconds, "teacher_queries_live": live})
        write_text(self.path / CALLS, json.dumps(calls, indent=1) + "\n")

    def clear(self) -> None:
        """Remove what a call before this one, which was killed, has left half-written in the folder."""
        clear_unfinished(self.path, deep=True, owned=True)

    def finish(self, metrics: dict[str, Any]) -> None:
        """Write the results and `tidy`."""
        write_text(self.path / "metrics.json", json.dumps(metrics, indent=2) + "\n")
        self.tidy()

    def tidy(self) -> None:
        """Remove files that only training needed."""
        shutil.rmtree(self.path / "_cache", ignore_errors=True)
