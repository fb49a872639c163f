"""Checks of a model folder before weights are loaded. Imports neither torch nor transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zskd.errors import InputError
from zskd.hub.ask import is_local
from zskd.models.labels import align_labels, check_saved_head, label_names, parse_label_map, read_model_config
from zskd.models.positions import usable_positions
from zskd.tasks.task import Task


def check_positions(config: dict[str, Any], shown: str, max_length: int | None) -> list[str]:
    """Problems of reading inputs of ``max_length`` tokens with a model's position table.

    Args:
        config: content of the model's ``config.json``.
        shown: flag and value to quote in the message.
    """
    positions = usable_positions(config)
    if positions is not None and max_length is not None and positions < max_length:
        return [f"--max-length {max_length}: expected at most the {positions} positions of {shown}"]
    return []


def check_local(name: str, flag_name: str, max_length: int | None) -> list[str]:
    """Problems of a local model folder besides its labels."""
    folder = Path(name).expanduser()
    if (folder / "adapter_config.json").is_file():
        return [f"{flag_name} {name}: expected a whole model, found an adapter; merge it into its base and save that"]
    try:
        config = read_model_config(folder, flag=flag_name)
    except InputError as error:
        return error.problems
    return check_positions(config, f"{flag_name} {name}", max_length)


def check_classifier(
    task: Task, name: str, label_map: str | None, flag_name: str, max_length: int | None = None
) -> list[str]:
    """Problems of a local classifier's labels; a Hub model is checked when it is loaded."""
    shown = f"{flag_name} {name}"
    try:
        mapping = parse_label_map(label_map) if label_map else None
        if name == "embedded":
            if task.adapter_path() is None:
                return [f"{shown}: no adapter for {task.name} is packaged; train one with `zskd finetune`"]
        elif name != "default" and is_local(name):
            config = read_model_config(Path(name).expanduser(), flag=flag_name)
            check_saved_head(config, shown)
            align_labels(task, label_names(config, shown), mapping, flag=shown)
            if max_length is not None:
                return check_positions(config, shown, max_length)
    except InputError as error:
        return error.problems
    return []
