"""The trained weights of every evaluation, each once on the disk, and the choice among them and their means."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import SAFE_WEIGHTS_NAME

from zskd.errors import RunError
from zskd.system.files import replacing, sha256_file, write_text
from zskd.training.manifest import Trouble
from zskd.training.resume import checkpoints

FILE = "snapshots.json"  # in a checkpoint
FOLDER = "snapshots"  # beside the checkpoints


@dataclass(frozen=True)
class Snapshot:
    """An evaluation.

    Attributes:
        step: after which it was.
        accuracy: on the selection rows.
        sha256: of the file with the trained weights; None if they are not needed any more.
    """

    step: int
    accuracy: float
    sha256: str | None

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"step-{self.step}.safetensors"


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights that are trained, by name, shared ones once."""
    return {name: weights.detach() for name, weights in model.named_parameters() if weights.requires_grad}


def _save(model: torch.nn.Module, path: Path) -> None:
    weights = {name: value.cpu().contiguous() for name, value in trained_weights(model).items()}
    with replacing(path) as temporary:
        save_file(weights, temporary)


class Snapshots(TrainerCallback):
    """Keeps the trained weights of evaluations as files, as long as they may be chosen.

    Chosen are those of one evaluation or the mean of the last 2, 4, ... (`choose_weights`). So the files of the last
    ones stay, as many as the widest mean has, and that of the best one until now. Checkpoints refer to them by their
    checksums. The weights of a checkpoint that follows an evaluation are a second name (a hard link) of its file, where
    the file system has such.

    Args:
        folder: of the checkpoints.

    Attributes:
        taken: all evaluations until now.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taken: list[Snapshot] = []

    def path(self, snapshot: Snapshot) -> Path:
        """The file of an evaluation's weights."""
        return self.folder / FOLDER / snapshot.name

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        model: torch.nn.Module,
        **kwargs: object,
    ) -> None:
        """Write the trained weights."""
        snapshot = Snapshot(state.global_step, metrics["eval_accuracy"], None)
        path = self.path(snapshot)
        _save(model, path)
        self.taken.append(replace(snapshot, sha256=sha256_file(path)))
        self._forget(state)

    def _forget(self, state: TrainerState) -> None:
        """Take back the checksums of weights that will not be chosen, whatever is still to come."""
        every = max(1, int(state.eval_steps))
        fewest, most = state.max_steps // every, -(-state.max_steps // every)  # the last step may be evaluated or not
        first = fewest - (1 << (max(1, most).bit_length() - 1))  # of the widest mean
        best = max(range(len(self.taken)), key=lambda i: self.taken[i].accuracy)
        self.taken = [
            taken if i >= first or i == best else replace(taken, sha256=None) for i, taken in enumerate(self.taken)
        ]

    def save(self, checkpoint: Path, step: int, model: torch.nn.Module) -> None:
        """Write the trained weights and the list of evaluations into a checkpoint's folder."""
        path = checkpoint / SAFE_WEIGHTS_NAME
        if self.taken and self.taken[-1].step == step:
            with replacing(path) as temporary:
                _same_file(self.path(self.taken[-1]), temporary)
        else:
            _save(model, path)
        write_text(checkpoint / FILE, json.dumps([asdict(snapshot) for snapshot in self.taken], indent=1) + "\n")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """Remove the files that no checkpoint refers to any more."""
        needed = {snapshot.name for snapshot in self.taken if snapshot.sha256}
        for checkpoint in checkpoints(self.folder):
            try:
                needed |= {snapshot.name for snapshot in read_snapshots(checkpoint) if snapshot.sha256}
            except (OSError, ValueError, TypeError):  # damaged: what it needs is not known
                return
        for path in (self.folder / FOLDER).glob("step-*.safetensors"):
            if path.name not in needed:
                path.unlink()

    def load(self, checkpoint: Path) -> None:
        """Go on from the evaluations of a checkpoint."""
        self.taken = read_snapshots(checkpoint)

    def trouble(self, checkpoint: Path) -> Trouble | None:
        """Why a training cannot go on from a checkpoint although that is whole: weights it refers to are not."""
        found = (self._damage(snapshot) for snapshot in read_snapshots(checkpoint) if snapshot.sha256)
        return next((Trouble(damage) for damage in found if damage), None)

    def _damage(self, snapshot: Snapshot) -> str | None:
        path = self.path(snapshot)
        if not path.is_file():
            return f"{FOLDER}/{path.name}: expected a file, found none"
        same = sha256_file(path) == snapshot.sha256
        return None if same else f"{FOLDER}/{path.name}: expected the checksum of what was written, found another"

    def check(self, chosen: Iterable[Snapshot]) -> None:
        """Check weights before they become the teacher.

        Raises:
            RunError: they are not as they were written.
        """
        if damage := next(filter(None, map(self._damage, chosen)), None):
            raise RunError(
                f"{self.folder}/{damage}. No teacher was saved. Put the file back, or remove {self.folder} to train "
                "from the beginning, and repeat the command with --resume"
            )


def read_snapshots(checkpoint: Path) -> list[Snapshot]:
    """The evaluations that a checkpoint lists.

    Raises:
        OSError, ValueError, TypeError: the list cannot be read.
    """
    return [Snapshot(**entry) for entry in json.loads((checkpoint / FILE).read_text(encoding="utf-8"))]


def _same_file(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links, or one that has run full, which the copy says
        shutil.copyfile(source, target)


def check_names(checkpoint: Path, model: torch.nn.Module) -> None:
    """Check that a checkpoint has the weights that are trained, before a loader passes over what does not fit.

    Raises:
        RunError: it has others, as another version of a library may name them.
    """
    with safe_open(checkpoint / SAFE_WEIGHTS_NAME, "pt") as held:
        there = {name: tuple(held.get_slice(name).get_shape()) for name in held.keys()}  # noqa: SIM118
    here = {name: tuple(weights.shape) for name, weights in trained_weights(model).items()}
    if there != here:
        other = sorted(name for name in there.keys() | here if there.get(name) != here.get(name))
        raise RunError(
            f"{checkpoint}: expected the weights that are trained here, found others ({len(other)}, such as "
            f"{other[0]}); go on with the versions of transformers and peft that the training began with, or remove "
            f"{checkpoint.parent} to train from the beginning"
        )


def _put(model: torch.nn.Module, paths: list[Path]) -> None:
    """Put the mean of saved weights into a model, one tensor at a time."""
    with contextlib.ExitStack() as files, torch.no_grad():
        held = [files.enter_context(safe_open(path, "pt")) for path in paths]
        for name, weights in trained_weights(model).items():
            found = [one.get_tensor(name) for one in held]
            weights.copy_(found[0] if len(found) == 1 else torch.stack(found).mean(dim=0))


def choose_weights(trainer: Trainer, snapshots: Snapshots) -> dict[str, float]:
    """Put the weights that do best on the selection rows into the trainer's model.

    Candidates are the best single evaluation and the means of the last 2, 4, ... evaluations. A mean of weights along
    one run is often better than any of them, and depends less on chance if there are few selection rows. One candidate
    at a time is in memory.

    Returns:
        Selection accuracy per candidate, broadest mean first, so that the first maximum is the one chosen.

    Raises:
        RunError: a file of weights is damaged.
    """
    trainer.remove_callback(snapshots)
    taken = snapshots.taken
    candidates = {"best evaluation": [max(taken, key=lambda snapshot: snapshot.accuracy)]}
    count = 2
    while count <= len(taken):
        candidates = {f"mean of last {count}": taken[-count:], **candidates}
        count *= 2
    snapshots.check({snapshot for chosen in candidates.values() for snapshot in chosen})
    scores = {}
    for name, chosen in candidates.items():
        _put(trainer.model, [snapshots.path(snapshot) for snapshot in chosen])
        scores[name] = float(trainer.evaluate()["eval_accuracy"])
    best = max(scores, key=lambda name: scores[name])
    _put(trainer.model, [snapshots.path(snapshot) for snapshot in candidates[best]])
    return scores
