"""Ending a training when a signal came: after the step, with a checkpoint."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from zskd.system import interrupts

logger = logging.getLogger(__name__)

_FILE = "stop"


class StopAtSignal(TrainerCallback):
    """Saves a checkpoint at the end of a step in which a signal came, then raises `zskd.system.interrupts.Interrupted`.

    The checkpoint has no evaluation unless one was due, so a training that is resumed from it evaluates at the steps at
    which it would have done so anyway. Several processes that `zskd.cli.launch` started agree on the step through a
    file in the launcher's folder: a process that has seen the signal writes it before the next step begins, and no
    process ends that step before all have begun it. On GPUs a process queues work and does not wait for it, so there is
    no such order.
    """

    def __init__(self) -> None:
        self.signum: int | None = None

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module,
        **kwargs: Any,
    ) -> None:
        """Ask for a checkpoint if it is time to end."""
        folder = _launcher_folder()
        self.signum = interrupts.came() if folder is None else _agreed(folder, state.global_step)
        if self.signum is None:
            return
        if not all(bool(weights.isfinite().all()) for weights in model.parameters()):
            raise interrupts.Interrupted(self.signum)  # a checkpoint of them would be of no use
        control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End, now that the checkpoint is written."""
        if self.signum is not None:
            logger.info("training: stopped at step %s, with a checkpoint", f"{state.global_step:,}")
            raise interrupts.Interrupted(self.signum)


@contextlib.contextmanager
def stopping(grace: float | None = None) -> Iterator[None]:
    """For a training with `StopAtSignal`: signals wait for it, where the processes can agree on a step.

    Args:
        grace: seconds that they wait at most; default `zskd.system.interrupts.GRACE`.
    """
    alone = PartialState().num_processes == 1
    with interrupts.put_off(grace) if alone or _launcher_folder() is not None else contextlib.nullcontext():
        yield


def _launcher_folder() -> Path | None:
    """Where processes of one machine without a GPU agree on the step; None if this is no such process."""
    started = interrupts.launcher()
    if started is None or PartialState().num_processes == 1 or PartialState().device.type != "cpu":
        return None
    return started[1]


def _agreed(folder: Path, step: int) -> int | None:
    """The signal to end with after this step; None to go on."""
    path = folder / _FILE
    signum = interrupts.came()
    if signum is not None and not path.exists():
        draft = folder / f"{_FILE}.{os.getpid()}"
        draft.write_text(f"{step + 1} {signum}", encoding="utf-8")
        with contextlib.suppress(FileExistsError):  # another process was first
            path.hardlink_to(draft)
    if not path.exists():
        return None
    last, signum = (int(word) for word in path.read_text(encoding="utf-8").split())
    return signum if step >= last else None
