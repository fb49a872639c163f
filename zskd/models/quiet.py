"""Silencing libraries while models load and train, because standard output is for results."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.utils import logging as transformers_logging

from zskd.system.progress import bar


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the tables, bars and deprecations of loading and saving; the caller checks what matters."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # one library's notice to another
            yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()


class StepBar(TrainerCallback):
    """One progress bar of a training, in its main process: Trainer's would have a second one for evaluations.

    `EvaluationLog` logs what matters.
    """

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the bar; a checkpoint has been loaded by now."""
        if state.is_world_process_zero:
            self._bar = bar("training", state.max_steps, "step", done=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """One step more."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def keep_stdout_clean(trainer: Trainer) -> None:
    """Remove Trainer's callbacks that print to standard output, and keep the progress bar.

    In a notebook Trainer's bar is another one, a table that is shown below the cell.
    """
    trainer.remove_callback(PrinterCallback)
    if trainer.pop_callback(DEFAULT_PROGRESS_CALLBACK) is not None:
        trainer.add_callback(StepBar())
