"""The seam where methods join training: hooks in order, modules in the optimizer, state in checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from zskd.methods.method import MICRO, Batch, Method, Run, StudentOutput, Training
from zskd.methods.step import Step
from zskd.system import seeds
from zskd.teacher.live import LiveTeacher

MODULES = "modules.safetensors"  # in a method's folder in a checkpoint
EPOCH = "epoch.safetensors"  # in a checkpoint: the rows of the current epoch


class Seam:
    """The methods of a trainer.

    Args:
        methods: in the order in which their hooks are called.
        teacher: the live teacher, for methods that need it; None if there is none.

    Raises:
        ValueError: two methods have the same name, a method needs a teacher and there is none, or a method cannot work
            with the way a batch is split.
    """

    def __init__(self, methods: Sequence[Method], run: Run, training: Training, teacher: LiveTeacher | None) -> None:
        self.methods, self.training, self.teacher = list(methods), training, teacher
        names = [method.name for method in self.methods]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"methods: expected each once, found {', '.join(sorted(repeated))} twice")
        self.finished = False
        self.step: Step | None = None
        self._micro = 0
        self._rows: tuple[int, np.ndarray] | None = None  # number and rows of the current epoch
        if teacher is not None:
            teacher.to(training.accelerator.device)
        self.modules: dict[str, dict[str, torch.nn.Module]] = {}
        for method in self.methods:
            self._check(method)
            if not method.prepared:
                method.prepare(run)
                method.prepared = True
            self.modules[method.name] = self._make_modules(method)
            method.begin(training)

    def __bool__(self) -> bool:
        return bool(self.methods)

    def _check(self, method: Method) -> None:
        size, accumulation, world = (
            self.training.batch_size, self.training.accumulation, self.training.accelerator.num_processes,
        )  # fmt: skip
        if method.wants_live_teacher and self.teacher is None:
            raise ValueError(
                f"{method.name}: expected a teacher with weights (ZeroShotTrainer(teacher=...)), found none"
            )
        if isinstance(method.coupling, int) and size % method.coupling:
            raise ValueError(
                f"{method.name}: expected batches of a multiple of {method.coupling} rows "
                f"(per_device_train_batch_size), found {size}"
            )
        if method.coupling == MICRO and not method.splits and (accumulation > 1 or world > 1):
            raise ValueError(
                f"{method.name}: its rows depend on all other rows of a batch, so a batch cannot be split; found "
                f"{accumulation} accumulation steps and {world} processes; use one of each"
            )

    def _make_modules(self, method: Method) -> dict[str, torch.nn.Module]:
        with torch.random.fork_rng(devices=[]):
            numbers = seeds.generator(seeds.Stream.MODULES, self.training.seed, seeds.word(method.name))
            torch.manual_seed(int(numbers.integers(2**62)))
            made = method.modules()
        return {name: module.to(self.training.accelerator.device) for name, module in made.items()}

    @property
    def wants_states(self) -> bool:
        """Whether a method needs the student's hidden states."""
        return any(method.wants_states for method in self.methods)

    # A step

    @functools.cached_property
    def parameters(self) -> list[torch.nn.Parameter]:
        """All trainable weights of the methods' modules."""
        return [weight for method in self.methods for weight in self._weights(method)]

    def _weights(self, method: Method) -> list[torch.nn.Parameter]:
        return [w for module in self.modules[method.name].values() for w in module.parameters() if w.requires_grad]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One parameter group for the optimizer per method with modules."""
        groups = []
        for method in self.methods:
            if weights := self._weights(method):
                rate = method.learning_rate
                groups.append({"params": weights, "weight_decay": 0.0, **({} if rate is None else {"lr": rate})})
        return groups

    def begin_step(self, batches: list[Batch], number: int, total: int, student: PreTrainedModel) -> None:
        """Call `Method.whole` before the first forward pass of an optimizer step."""
        self._micro = 0
        for weight in self.parameters:
            weight.grad = None
        step = self._step(sum(len(batch["input_ids"]) for batch in batches), number, total, len(batches), student)
        for method in self.methods:
            method.whole(batches, step)

    def _step(self, rows: int, number: int, total: int, micros: int, student: PreTrainedModel) -> Step:
        accelerator, size = self.training.accelerator, self.training.batch_size
        world = accelerator.num_processes
        first = (self._micro * world + accelerator.process_index) * size
        return Step(
            number=number,
            total=total,
            seed=self.training.seed,
            places=np.arange(first, first + rows),
            size=size * world * micros,
            whole=size * world * micros,
            micro=self._micro,
            micros=micros,
            processes=world,
            progress=number / max(1, total),
            student=student,
            teacher=self.teacher,
            accelerator=accelerator,
        )

    def batch(self, batch: Batch, number: int, total: int, micros: int, student: PreTrainedModel) -> Batch:
        """Pass a micro-batch through the methods, and set `step` to its place in the run."""
        self.step = self._step(len(batch["input_ids"]), number, total, micros, student)
        self._micro += 1
        for method in self.methods:
            batch = method.batch(batch, self.step)
        return batch

    def logits(self, output: StudentOutput, step: Step) -> torch.Tensor:
        """The student's logits, after the methods that replace them."""
        logits = output.logits
        for method in self.methods:
            logits = method.logits(StudentOutput(logits, output.states, output.mask, output.view), step)
        return logits

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        """The sum of the methods' loss terms; None if there are none."""
        terms = [term for method in self.methods if (term := method.loss(batch, output, step)) is not None]
        return torch.stack(terms).sum() if terms else None

    def end_step(self) -> dict[str, float]:
        """Call `Method.end_step` after the last backward pass of a step. Returns the numbers to log."""
        assert self.step is not None
        report: dict[str, float] = {}
        for method in self.methods:
            report |= method.end_step(self.step) or {}
        if self.step.processes > 1:
            for weight in self.parameters:
                held = torch.zeros_like(weight) if weight.grad is None else weight.grad
                weight.grad = self.training.accelerator.reduce(held, "mean")
        return report

    def evaluation_step(self, rows: int, number: int, total: int, student: PreTrainedModel) -> Step:
        """The step of an evaluation batch; places count from 0 in every batch."""
        return Step(
            number, total, self.training.seed, np.arange(rows), training=False, student=student, teacher=self.teacher
        )

    # Epochs

    def epoch_rows(self, number: int, student: PreTrainedModel, count: int) -> np.ndarray | None:
        """Indices ``(count,)`` of the rows of an epoch; None for all rows.

        A method's choice is repeated until there are `count` indices, so that the number of updates does not change.
        """
        if self._rows is not None and self._rows[0] == number:
            return self._rows[1]
        chosen: np.ndarray | None = None
        for method in self.methods:
            found = method.epoch(number, student)
            if found is not None and chosen is not None:
                raise ValueError(f"{method.name}: another method chooses the rows of an epoch too; use one of them")
            chosen = chosen if found is None else np.asarray(found, dtype=np.int64)
        if chosen is None:
            return None
        if len(chosen) == 0:
            raise ValueError("methods: expected at least one row for an epoch, found none")
        shared = [np.resize(chosen, count)]
        if self.training.accelerator.num_processes > 1:
            broadcast_object_list(shared)  # processes may differ by rounding, and then choose other rows
        self._rows = (number, shared[0])
        return shared[0]

    def refuse_epochs(self) -> None:
        """Check that no method chooses the rows of an epoch; without a column ``length`` none can.

        Raises:
            ValueError: a method does.
        """
        for method in self.methods:
            if type(method).epoch is not Method.epoch:
                raise ValueError(
                    f"{method.name}: it chooses the rows of an epoch, so the training data has to be a "
                    "`datasets.Dataset` with a column `length` (tokens), as `zskd.transfer_rows` makes it"
                )

    # Checkpoints and the end

    def save(self, checkpoint: Path) -> None:
        """Write the state and the modules of all methods into a checkpoint."""
        for method in self.methods:
            folder = checkpoint / (method.folder or method.name)
            method.save(folder)
            if modules := self.modules[method.name]:
                folder.mkdir(parents=True, exist_ok=True)
                state = {
                    f"{name}.{key}": v.contiguous() for name, m in modules.items() for key, v in m.state_dict().items()
                }
                save_file(state, folder / MODULES)
        if self._rows is not None:
            number, rows = self._rows
            save_file({"number": torch.tensor(number), "rows": torch.from_numpy(rows)}, checkpoint / EPOCH)

    def load(self, checkpoint: Path) -> None:
        """Restore what `save` wrote."""
        for method in self.methods:
            method.load(checkpoint / (method.folder or method.name), self.training.accelerator.device)
        self.load_modules(checkpoint)
        if (checkpoint / EPOCH).is_file():
            held = load_file(checkpoint / EPOCH)
            self._rows = (int(held["number"]), held["rows"].numpy())

    def load_modules(self, checkpoint: Path) -> None:
        """Restore only the modules, for example those of the best step."""
        for method in self.methods:
            path = checkpoint / (method.folder or method.name) / MODULES
            for name, module in self.modules[method.name].items():
                state = load_file(path)
                prefix = f"{name}."
                module.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})

    def finish(self, student: PreTrainedModel) -> None:
        """Call `Method.finish`, which leaves a stock student. After that, no hook takes part in evaluation."""
        if not self.finished:
            for method in self.methods:
                method.finish(student)
            self.finished = True


class FinishFirst(TrainerCallback):
    """Calls `Seam.finish` before any other callback runs at the end of training, such as one that publishes."""

    def __init__(self, seam: Seam) -> None:
        self.seam = seam

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: PreTrainedModel | None = None,
        **kwargs: Any,
    ) -> None:
        """Finish the methods; the best weights have been loaded by now."""
        self.seam.finish(getattr(model, "module", model))
