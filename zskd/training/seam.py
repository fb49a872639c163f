"""The seam where methods join training: hooks in order, modules in the optimizer, state in checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, TrainingArguments

from zskd.config.methods.shares import rows_of
from zskd.methods.context import Batch, Run, StudentOutput, Training
from zskd.methods.method import Method
from zskd.methods.step import Step
from zskd.teacher.live import LiveTeacher
from zskd.training.modules import Modules
from zskd.training.seam_checks import check_method, check_names, check_shares, checked_rows

EPOCH = "epoch.safetensors"  # of a checkpoint: the rows of the epoch that is going on


class Seam:
    """The methods of a trainer.

    Args:
        methods: in the order in which their hooks are called.
        teacher: the live teacher, for methods that need it; None if there is none.

    Raises:
        ValueError: two methods share a name or folder, or one has no name; a method needs a teacher and there is none;
            a coupling is unknown, or a method cannot work with the way a batch is split.
    """

    def __init__(self, methods: Sequence[Method], run: Run, training: Training, teacher: LiveTeacher | None) -> None:
        self.methods, self.training, self.teacher = list(methods), training, teacher
        check_names(self.methods)
        check_shares(self.methods, training)
        self.finished = False
        self.step: Step | None = None
        self._micro = 0
        self._rows: tuple[int, np.ndarray] | None = None  # of the epoch that is going on
        self._asked = False  # whether the sampler has asked for an epoch's rows
        if teacher is not None:
            teacher.to(training.accelerator.device)
        self.modules = Modules(training.accelerator, training.seed)
        for method in self.methods:
            check_method(method, training, live=teacher is not None)
            if not method.prepared:
                method.prepare(run)
                method.prepared = True
            self.modules.make(method)
            method.begin(training)

    def __bool__(self) -> bool:
        return bool(self.methods)

    @property
    def wants_states(self) -> bool:
        """Whether a method needs the student's hidden states."""
        return any(method.wants_states for method in self.methods)

    # A step

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """All weights of the methods' modules that are trained."""
        return self.modules.parameters

    def parameter_groups(self) -> list[dict[str, Any]]:
        """A group for the optimizer for each method with modules."""
        return self.modules.groups()

    def begin_step(self, batches: list[Batch], number: int, total: int, student: PreTrainedModel) -> None:
        """Before the first forward pass of an optimizer step."""
        if not self._asked:
            self.refuse_epochs()
        self._micro = 0
        self.modules.forget_gradients()
        places = np.concatenate([self._places(micro, len(one["input_ids"])) for micro, one in enumerate(batches)])
        step = self._step(places, number, total, len(batches), student)
        for method in self.methods:
            self.modules.set_mode(True, student)
            method.whole(batches, replace(step, method=method.name))

    def _places(self, micro: int, rows: int) -> np.ndarray:
        """Places ``(rows,)`` in the whole batch of a micro-batch of this process."""
        accelerator = self.training.accelerator
        first = (micro * accelerator.num_processes + accelerator.process_index) * self.training.batch_size
        return np.arange(first, first + rows)

    def _step(self, places: np.ndarray, number: int, total: int, micros: int, student: PreTrainedModel) -> Step:
        accelerator, size = self.training.accelerator, self.training.batch_size
        world = accelerator.num_processes
        return Step(
            number=number,
            total=total,
            seed=self.training.seed,
            places=places,
            size=size * world * self.training.accumulation,
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
        """A micro-batch as the methods make it; `step` says from now on where it stands."""
        rows = len(batch["input_ids"])
        self.step = self._step(self._places(self._micro, rows), number, total, micros, student)
        self._micro += 1
        taken = 0
        for method in self.methods:
            self.modules.set_mode(True, student)
            batch = method.batch(batch, replace(self.step, method=method.name, taken=taken))
            taken += rows_of(method.row_share, self.step.size)
            if "input_ids" not in batch or len(batch["input_ids"]) != rows:
                found = f"{len(batch['input_ids'])} rows" if "input_ids" in batch else "none"
                raise ValueError(f"{method.name}: batch(): expected input_ids of {rows} rows to stay, found {found}")
        return batch

    def logits(self, output: StudentOutput, step: Step) -> torch.Tensor:
        """The student's logits after all methods that replace them."""
        self.modules.set_mode(step.training)
        logits = output.logits
        for method in self.methods:
            logits = method.logits(replace(output, logits=logits), replace(step, method=method.name))
        if step.training and logits is not output.logits:
            # The student's own head may have no part in them. DDP waits for the gradient of every weight, and an
            # optimizer takes no gradient for another thing than one of zero, so it has one in every case.
            logits = logits + 0.0 * output.logits.sum()
        return logits

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        """The sum of the methods' terms; None where none has one."""
        if output.view is not None:
            output = replace(output, view=replace(output.view, logits=self.logits(output.view, step)))
        found = [method.loss(batch, output, replace(step, method=method.name)) for method in self.methods]
        terms = [term for term in found if term is not None]
        return torch.stack(terms).sum() if terms else None

    def end_step(self) -> dict[str, float]:
        """Call `Method.end_step` after the last backward pass of a step. Returns the numbers to log."""
        assert self.step is not None
        self.modules.average_gradients()
        report: dict[str, float] = {}
        for method in self.methods:
            report |= method.end_step(replace(self.step, method=method.name)) or {}
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
        self._asked = True
        if self._rows is not None and self._rows[0] == number:
            return self._rows[1]
        self._rows = None
        chosen: np.ndarray | None = None
        before = student.training
        for method in self.methods:
            self.modules.set_mode(False, student)
            with torch.no_grad():
                found = method.epoch(number, student)
            if found is not None and chosen is not None:
                raise ValueError(f"{method.name}: another method chooses the rows of an epoch too; use one of them")
            chosen = chosen if found is None else checked_rows(found, count, method.name)
        student.train(before)
        if chosen is None:
            return None
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

    def save(self, checkpoint: Path, *, main: bool = True) -> None:
        """Write the state and the modules of all methods into a checkpoint; called in every process.

        Args:
            main: whether this process is the one that writes.
        """
        for method in self.methods:
            folder = checkpoint / (method.folder or method.name)
            method.save(folder, main=main)
            if main:
                self.modules.save(method, folder)
        if main and self._rows is not None:
            number, rows = self._rows
            save_file({"number": torch.tensor(number), "rows": torch.from_numpy(rows)}, checkpoint / EPOCH)

    def load(self, checkpoint: Path) -> None:
        """Take over what `save` wrote."""
        device = self.training.accelerator.device
        if device.type == "cpu":
            device = torch.device("cpu")  # among several processes it is called cpu:0, which `torch.load` does not know
        for method in self.methods:
            method.load(checkpoint / (method.folder or method.name), device)
        self.load_modules(checkpoint)
        if (checkpoint / EPOCH).is_file():
            held = load_file(checkpoint / EPOCH)
            self._rows = (int(held["number"]), held["rows"].numpy())

    def load_modules(self, checkpoint: Path) -> None:
        """Take over the modules alone, as those of the best step.

        Raises:
            ValueError: the checkpoint has none.
        """
        for method in self.methods:
            self.modules.load(method, checkpoint / (method.folder or method.name))

    def start(self, arguments: TrainingArguments, resumed: bool) -> None:
        """Before the first step of a training.

        Raises:
            ValueError: the methods have trained already, or checkpoints would lack modules that the end needs.
        """
        if self.finished and not resumed:
            names = ", ".join(method.name for method in self.methods)
            raise ValueError(
                f"methods: expected a trainer that has not trained yet, as {names} would go on from where they ended; "
                "make a new trainer with new methods for another training"
            )
        if self.parameters and arguments.load_best_model_at_end and arguments.save_only_model:
            raise ValueError(
                "save_only_model: expected False with load_best_model_at_end, as the methods' modules are restored "
                "with the best student, found True"
            )
        self.finished = False

    def finish(self, student: PreTrainedModel) -> None:
        """Call `Method.finish`, which leaves a stock student. After that, no hook takes part in evaluation."""
        if not self.finished:
            self.modules.set_mode(False)
            with torch.no_grad():
                for method in self.methods:
                    method.finish(student)
            self.finished, self._rows, self._asked = True, None, False


def no_methods(trainer: Any) -> Seam:
    """The seam of a trainer in whose training no method takes part.

    Args:
        trainer: a `transformers.Trainer`.
    """
    arguments = trainer.args
    run = Run(seed=arguments.seed, student=trainer.model, tokenizer=trainer.processing_class)
    size, accumulation = arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps
    training = Training(trainer.accelerator, arguments.seed, size, accumulation, 1.0, arguments.learning_rate)
    return Seam((), run, training, None)
