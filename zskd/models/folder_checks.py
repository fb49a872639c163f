"""Checks of a model folder before weights are loaded. Imports neither torch nor transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zskd.errors import InputError
from zskd.hub.ask import is_local
from zskd.models.backbones import PACKAGED
from zskd.models.folder_files import read_json
from zskd.models.labels import align_labels, check_saved_head, label_names, parse_label_map, read_model_config
from zskd.models.positions import length_problem, reading_length
from zskd.system.paths import expanded, is_file, is_folder
from zskd.tasks.task import Task

_WORDS = (*PACKAGED, "default", "build")  # names of models that are no folders


def check_positions(config: dict[str, Any], shown: str, max_length: int | None, limit: Any = None) -> list[str]:
    """Problems of reading inputs of ``max_length`` tokens with a model.

    Args:
        config: content of the model's ``config.json``.
        shown: flag and value to quote in the message.
        max_length: None where no length is asked for, which is no problem.
        limit: ``model_max_length`` of its tokenizer, if that is known.
    """
    problem = None if max_length is None else length_problem(config, limit, shown, max_length)
    return [] if problem is None else [problem]


def student_folder(name: str) -> str:
    """`name`, or ``RUN/student`` if it names a run folder.

    Raises:
        InputError: the run has no student yet.
    """
    folder = expanded(name)
    if not is_file(folder / "config.yaml") or is_file(folder / "config.json"):
        return name
    if not is_file(folder / "student" / "config.json"):
        raise InputError(f"{name}: expected a finished run, found no student in it; finish it with --resume")
    return str(folder / "student")


def run_folder(name: str) -> Path:
    """The run folder that a name may stand for: itself, or the one whose student's folder it is."""
    folder = expanded(name).resolve()
    return folder.parent if folder.name == "student" else folder


def check_length(name: str, flag_name: str, max_length: int | None) -> list[str]:
    """Problems of ``--max-length`` with a local model, adapter or run folder.

    Nothing else is checked; a folder without a readable configuration is left to the loader.
    """
    if max_length is None or name in _WORDS or not is_local(name):
        return []
    try:
        folder = expanded(student_folder(name))
        return _length_problems(folder, read_model_config(folder, flag=flag_name), f"{flag_name} {name}", max_length)
    except InputError:
        return []


def student_length(folder: Path) -> int:
    """Tokens of an input that the model in a local folder reads (`zskd.models.positions.reading_length`)."""
    limit = _read(folder / "tokenizer_config.json").get("model_max_length")
    return reading_length(_read(folder / "config.json"), limit)


def _length_problems(folder: Path, config: dict[str, Any], shown: str, max_length: int | None) -> list[str]:
    """`check_positions` of a local folder. Positions and tokenizer of an adapter are its backbone's."""
    base = _read(folder / "adapter_config.json").get("base_model_name_or_path")
    if isinstance(base, str) and is_local(base) and is_folder(expanded(base)):
        folder = expanded(base)
        config = _read(folder / "config.json")
    limit = _read(folder / "tokenizer_config.json").get("model_max_length")
    return check_positions(config, shown, max_length, limit)


def _read(path: Path) -> dict[str, Any]:
    """Content of a JSON file that not every folder has; the loader says what is wrong with a damaged one."""
    try:
        return read_json(path)
    except (InputError, OSError):
        return {}


def check_local(name: str, flag_name: str, max_length: int | None) -> list[str]:
    """Problems of a local model folder besides its labels."""
    folder = expanded(name)
    if is_file(folder / "adapter_config.json"):
        return [f"{flag_name} {name}: expected a whole model, found an adapter; merge it into its base and save that"]
    try:
        config = read_model_config(folder, flag=flag_name)
    except InputError as error:
        return error.problems
    return _length_problems(folder, config, f"{flag_name} {name}", max_length)


def check_classifier(
    task: Task, name: str, label_map: str | None, flag_name: str, max_length: int | None = None
) -> list[str]:
    """Problems of a local classifier's labels; a Hub model is checked when it is loaded."""
    shown = f"{flag_name} {name}"
    try:
        mapping = parse_label_map(label_map) if label_map else None
        if name in PACKAGED:
            if task.adapter_path(name) is None:
                return [f"{shown}: {task.no_adapter(name)}"]
        elif name != "default" and is_local(name):
            folder = expanded(name)
            config = read_model_config(folder, flag=flag_name)
            check_saved_head(config, shown)
            align_labels(task, label_names(config, shown), mapping, flag=shown)
            return _length_problems(folder, config, shown, max_length)
    except InputError as error:
        return error.problems
    return []
