"""Resuming: which checkpoint a stopped run goes on from."""

from __future__ import annotations

import logging
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from zskd.errors import RunError
from zskd.training.manifest import FILE as MANIFEST
from zskd.training.manifest import WEIGHTS, Trouble, find_trouble, read_state

logger = logging.getLogger(__name__)

ASIDE = "passed-over-"  # how the name of a checkpoint begins that was passed over


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint's name."""
    return int(checkpoint.name.rpartition("-")[2])


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest first, whatever state they are in."""
    named = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-\d+")
    found = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if named.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=step_of, reverse=True)


def best_of(checkpoint: Path) -> Path | None:
    """The best checkpoint of a training up to `checkpoint`, beside it: Trainer notes an absolute path, and runs move.

    Returns:
        None if the training had no best one. The folder need not be there.
    """
    noted = read_state(checkpoint).get("best_model_checkpoint")
    return checkpoint.parent / Path(noted).name if noted else None


def _best_step(checkpoint: Path) -> int:
    """Step of the best checkpoint that a damaged one names; 0 if that cannot be known."""
    if not (checkpoint / MANIFEST).is_file() or find_trouble(checkpoint, only=(TRAINER_STATE_NAME,)) is not None:
        return 0
    chosen = best_of(checkpoint)
    return 0 if chosen is None else step_of(chosen)


def resume_trouble(checkpoint: Path, *, best: bool) -> Trouble | None:
    """Why a training cannot go on from a checkpoint as it would have; None if it can.

    Args:
        best: whether the best checkpoint is needed at the end.
    """
    if (trouble := find_trouble(checkpoint)) is not None or not best:
        return trouble
    chosen = best_of(checkpoint)
    if chosen is None or chosen == checkpoint:
        return None
    if not chosen.is_dir():
        return Trouble(f"the best checkpoint up to it, {chosen.name}, is not there")
    trouble = find_trouble(chosen, only=WEIGHTS)
    return trouble and Trouble(f"the best checkpoint up to it, {chosen.name}, is damaged: {trouble.why}")


def _no_trouble(checkpoint: Path) -> Trouble | None:
    return None


def last_checkpoint(
    folder: Path, *, best: bool, own: bool, beside: Callable[[Path], Trouble | None] = _no_trouble
) -> Path | None:
    """The newest checkpoint in `folder` that is as it was written; those passed over for it are moved aside.

    They would be overwritten in parts, or outlive the checkpoints that follow. The log says which they are, and why.

    Args:
        best: whether the best checkpoint is needed at the end.
        own: whether a checkpoint whose writing was cut short may be removed instead.
        beside: what is wrong with files that a whole checkpoint refers to and that are not in it.

    Returns:
        None if there is nothing to go on from: no checkpoint, or a first one whose writing was cut short.

    Raises:
        RunError: there are checkpoints, but none can be used.
    """
    passed: list[tuple[Path, Trouble]] = []
    chosen, later = None, 0
    for path in checkpoints(folder):
        # One whose own best was removed since, for a better one that came later, will come to the better one again.
        trouble = resume_trouble(path, best=best and later <= step_of(path))
        if trouble is None and (trouble := beside(path)) is None:
            chosen = path
            break
        passed.append((path, trouble))
        later = max(later, _best_step(path))
    if chosen is None and (len(passed) > 1 or any(trouble.finished for _, trouble in passed)):
        found = "; ".join(f"{path.name}: {trouble.why}" for path, trouble in passed)
        raise RunError(
            f"{folder}: expected a checkpoint that is as it was written, found none ({found}). Put the files back, or "
            f"remove {folder} and repeat the command to train from the beginning; nothing was changed"
        )
    for path, trouble in passed:
        remove = own and not trouble.finished
        kept = "removed" if remove else f"kept as {ASIDE}{path.name}, which you may delete"
        logger.warning("%s: passed over: %s (%s)", path, trouble.why, kept)
        _move_aside(path, remove=remove)
    if chosen is not None and not (chosen / MANIFEST).is_file():
        logger.info("%s: has no %s, as an older zskd wrote it; its files can be opened", chosen, MANIFEST)
    return chosen


def _move_aside(checkpoint: Path, *, remove: bool) -> None:
    target = checkpoint.with_name(ASIDE + checkpoint.name)
    if remove:
        shutil.rmtree(checkpoint)
        return
    if target.exists():
        shutil.rmtree(target)
    checkpoint.rename(target)


def resume_point(asked: str | Path | bool | None, folder: Path, *, best: bool) -> str | bool | None:
    """What `transformers.Trainer.train` is told to resume from, checked before any weights are loaded.

    Args:
        asked: as Trainer takes it: a checkpoint, or True for the newest in `folder`.

    Raises:
        RunError: the checkpoint is not as it was written, or none in `folder` is.
    """
    if asked is None or asked is False:
        return None
    if asked is True:
        found = last_checkpoint(folder, best=best, own=False)
        return True if found is None else str(found)  # Trainer says that there is none
    if Path(asked).is_dir() and (trouble := resume_trouble(Path(asked), best=best)) is not None:
        raise RunError(
            f"{asked}: expected a checkpoint that is as it was written, found another: {trouble.why}. Resume from an "
            "older one, or train from the beginning"
        )
    return str(asked)


@contextmanager
def plain_values(checkpoint: str | bool | None) -> Iterator[None]:
    """Say of a checkpoint that a training resumes from that it holds more than tensors and plain values.

    Its checksums may be right: whoever changes a file can change those too. torch refuses to load it.
    """
    try:
        yield
    except pickle.UnpicklingError as error:
        raise RunError(
            f"{checkpoint}: expected tensors and plain values, found a file that would run code, or is none of torch's"
        ) from error


def check_best(checkpoint: Path) -> None:
    """Check the weights of the best checkpoint before they become the student.

    Raises:
        RunError: they are not as they were written.
    """
    if (trouble := find_trouble(checkpoint, only=WEIGHTS)) is not None:
        raise RunError(
            f"{checkpoint}: expected the best checkpoint as it was written, found another: {trouble.why}. No student "
            f"was saved. Put the file back, or remove {checkpoint.parent} to train from the beginning, and repeat the "
            "command with --resume"
        )
