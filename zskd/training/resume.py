"""Resuming: which checkpoint a stopped run goes on from."""

from __future__ import annotations

import json
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from zskd.system.files import write_text


def repoint_best(checkpoint: Path) -> None:
    """Correct the path of the best checkpoint in a checkpoint's state, since Trainer wrote an absolute path."""
    path = checkpoint / TRAINER_STATE_NAME
    state = json.loads(path.read_text(encoding="utf-8"))
    best = checkpoint.parent / f"{PREFIX_CHECKPOINT_DIR}-{state['best_global_step']}"
    if state["best_model_checkpoint"] != str(best) and best.is_dir():
        state["best_model_checkpoint"] = str(best)
        write_text(path, json.dumps(state, indent=2, sort_keys=True) + "\n")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint in `folder`.

    Trainer writes ``trainer_state.json`` last, so an incomplete checkpoint has none, or one that does not parse.
    """
    found = []
    for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        try:
            state = json.loads((path / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            continue
        found.append((int(state["global_step"]), path))
    return max(found)[1] if found else None
