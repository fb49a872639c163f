"""The protocol of methods. A method is a published technique beside the objective; a run calls its hooks in order."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import PreTrainedModel, TrainerCallback

from zskd.methods.context import Batch, Run, StudentOutput, Training
from zskd.methods.step import Step
from zskd.transfer.transfer_set import TransferSet

# How a row depends on the other rows of its batch. An int G means: only on the rows in its group of G adjacent places.
ROWS, MICRO = "rows", "micro"
STATE = "state.pt"  # of a method's folder in a checkpoint


class Method:
    """A method whose hooks do nothing. A method of one's own overrides those it needs (see ``examples/own_method.py``).

    The hooks are listed in the order of a run. Of several methods each hook is called in the order of their list, and
    each method is given what the one before it made. What holds for all of them, and what the contract test
    (``tests/methods/test_contract.py``) looks for:

    - *Random numbers* come from ``step.rng(place)``, never from a global generator: they belong to a row's place in the
      whole batch, so that accumulation, processes and resuming change nothing.
    - *Splits.* Trainer averages micro-batches, and processes average gradients. So with equal micro-batches a loss that
      is a mean over rows is the same however a batch is split. An epoch's last batch may be short: with accumulation
      each of its micro-batches counts alike, a method with groups may see a smaller last one, and several processes
      fill theirs up with rows of the epoch's beginning.
    - *Processes.* Every process calls every hook, but for `state`, which only the first one calls and every one loads:
      what is in it has to be the same in all (``step.gather``, ``step.mean``), and nothing in it may wait for the
      others. What each process knows alone is gathered in `save`. A hook that talks to the other processes does so in
      each of them.
    - *Modes.* While training the student and the modules are in training mode when a hook is called, in `epoch` and in
      evaluation in evaluation mode; a hook that changes the student's mode need not restore it.
    - *Gradients.* The student that a hook sees (``step.student``) is not wrapped, so a backward pass of the method's
      own has to be `torch.autograd.grad`: what it left in ``.grad`` would be added to the step's. `epoch` runs without
      gradients.
    - *Resuming.* A run that is resumed makes new methods: `prepare` and `modules` are called again, then `load`. What
      changes while training and is no module belongs into `state`, the count of queries too.
    - *One training.* A trainer with methods trains once; it can be resumed as often as needed.

    Attributes:
        name: what the method is called in logs, and the name of its folder in a checkpoint.
        coupling: `ROWS`, `MICRO`, or a number of neighbouring places, of which a micro-batch has to be a multiple. With
            `MICRO` the trainer refuses accumulation and several processes, unless `splits` says that the method copes
            with both and documents how.
        wants_states: whether the student's hidden states are needed.
        wants_live_teacher: whether the trainer needs the teacher, with weights.
        folder: of a checkpoint; `name` unless set.
        prepared: whether `prepare` has been called.
        phase: what the time of `prepare` is called in ``metrics.json``; None where it takes none.

    Example:
        A term that keeps the student's logits small, for ``ZeroShotTrainer(..., methods=[SmallLogits()])``:

        >>> class SmallLogits(Method):
        ...     name = "small-logits"
        ...
        ...     def loss(self, batch, output, step):
        ...         return 0.01 * output.logits.square().mean()
        >>> SmallLogits().coupling
        'rows'
    """

    name: ClassVar[str] = ""
    folder: ClassVar[str] = ""
    wants_states: ClassVar[bool] = False
    wants_live_teacher: ClassVar[bool] = False
    splits: ClassVar[bool] = False
    phase: ClassVar[str | None] = None
    prepared: bool = False

    @property
    def coupling(self) -> str | int:
        """How a row depends on the others of its batch; a method may decide it by its options."""
        return ROWS

    @property
    def row_share(self) -> float:
        """Share of each whole batch that the method changes by itself, see `Step.rows`; of all methods at most 1."""
        return 0.0

    # The transfer set

    def transfer_set(self, rows: TransferSet) -> TransferSet:
        """After labelling: which inputs stay and how often, and columns that are added to them."""
        return rows

    # Before training

    def prepare(self, run: Run) -> None:
        """Once, when the student is built and has learned nothing."""

    def modules(self) -> dict[str, torch.nn.Module]:
        """Once, after `prepare`: modules that are trained with the student.

        They are a parameter group of Trainer's optimizer with `learning_rate`. They start from their own random stream,
        are averaged over processes, clipped apart from the student and from other methods' modules, saved in every
        checkpoint, restored with the best one, and never published. A weight that a step does not use has a gradient of
        zero. Buffers are not averaged over processes.
        """
        return {}

    @property
    def learning_rate(self) -> float | None:
        """Peak learning rate of the modules; None for the student's."""
        return None

    def begin(self, training: Training) -> None:
        """Once, when the trainer is made.

        Raises:
            ValueError: a batch is split in a way that the method cannot work with.
        """

    def callbacks(self) -> list[TrainerCallback]:
        """What a run adds to its trainer."""
        return []

    # While training

    def epoch(self, number: int, student: PreTrainedModel) -> np.ndarray | None:
        """Before each epoch: indices ``(rows,)`` of the rows to go through, in any order; None for all.

        An epoch has as many updates as without the method: fewer rows are gone through again, more are an error. The
        sampler decides their order. The first process's choice is everybody's. A resumed run does not ask again for the
        epoch it is in. Only one method of a run may choose.

        Args:
            number: of the epoch, from 0.
            student: as it is now, in evaluation mode; gradients are off.
        """
        return None

    def whole(self, batches: list[Batch], step: Step) -> None:
        """Once per optimizer step, before any forward pass: all micro-batches of this process.

        They are as the collator makes them, and are to be left so. ``step.places`` are those of all their rows.
        """

    def batch(self, batch: Batch, step: Step) -> Batch:
        """Before the student's forward pass of a micro-batch.

        ``input_ids`` and the number of rows have to stay (other ids may stand in them). The result may have, beside
        what the collator gives and any further tensors for `loss`:

        - ``partner`` ``(batch,)`` int64 and ``share`` ``(batch,)``: a row's word embeddings become ``share`` times its
          own and ``1 - share`` times those of another row of the micro-batch. The attention mask stays the row's own,
          unless the method sets another.
        - ``offset`` ``(batch, tokens, width)``, then added to them; fewer tokens than the batch has are filled up with
          zeros.
        - ``view_input_ids``, ``view_attention_mask`` and, where the rows have them, ``view_token_type_ids``: a second
          view of the rows, of any width, read in the same forward pass, with its own table look-ups.
        - other ``teacher_logits`` where inputs have changed.

        The student is shown the inputs it knows (`zskd.training.forward.model_inputs`) and nothing else.
        """
        return batch

    def logits(self, output: StudentOutput, step: Step) -> torch.Tensor:
        """The student's logits ``(batch, num_labels)``, in training and in evaluation, also of a second view.

        The student's own layers may be left out: they then have a gradient of zero, in one process as in several. (DDP
        waits for every weight, whether or not it looks for unused ones.)
        """
        return output.logits

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        """A term that is added to the objective: the mean over the micro-batch, a scalar. None for none.

        Args:
            batch: as the last method's `batch` left it.
            output: with the logits that `logits` made.
        """
        return None

    def end_step(self, step: Step) -> dict[str, float] | None:
        """After the last backward pass of a step, before the optimizer: numbers to log, if any.

        Gradients are averaged over processes and not clipped yet. ``step`` is that of the last micro-batch.
        """
        return None

    # After training

    def finish(self, student: PreTrainedModel) -> None:
        """When training has ended and the best weights are loaded, modules included: leave a stock student.

        It runs before any callback sees the end of training; from then on `logits` is not called any more.
        """

    def files(self) -> dict[str, Any]:
        """Files for the run folder: name -> content that JSON can hold."""
        return {}

    def card(self) -> str | None:
        """A sentence for the model card."""
        return None

    @property
    def queries(self) -> int:
        """Texts that the teacher was asked for while training, over all processes."""
        return 0

    @property
    def stopped(self) -> str | None:
        """Why the method has ended training early."""
        return None

    # Checkpoints

    def state(self) -> dict[str, Any]:
        """What a resumed run needs beside the modules: tensors, and plain values of Python in lists and dicts."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""

    def save(self, folder: Path, *, main: bool = True) -> None:
        """Write `state` into a folder of a checkpoint; a method with large parts of its own may write otherwise.

        Called in every process, so that a method can gather what each knows.

        Args:
            main: whether this process is the one that writes.

        Raises:
            TypeError: the state holds what a resumed run could not read.
        """
        if main and type(self).state is not Method.state:
            state = self.state()
            _check_plain(state, f"{self.name}: state()")
            folder.mkdir(parents=True, exist_ok=True)
            torch.save(state, folder / STATE)

    def load(self, folder: Path, device: torch.device) -> None:
        """Take over what `save` wrote.

        Raises:
            ValueError: there is nothing, although the method has a state.
        """
        if type(self).state is Method.state:
            return
        if not (folder / STATE).is_file():
            raise ValueError(
                f"{self.name}: expected its state in {folder / STATE}, found none; a run can be resumed only from a "
                "checkpoint of the same methods"
            )
        self.load_state(torch.load(folder / STATE, map_location=device, weights_only=True))


def _check_plain(value: Any, where: str) -> None:
    """See now, and not when a run is resumed, that a state can be read without trusting the file."""
    if type(value) in (dict, OrderedDict):
        for key, part in value.items():
            _check_plain(key, where)
            _check_plain(part, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for i, part in enumerate(value):
            _check_plain(part, f"{where}[{i}]")
    elif not isinstance(value, torch.Tensor) and type(value) not in (bool, int, float, str, type(None)):
        raise TypeError(
            f"{where}: expected tensors and plain values of Python, found {type(value).__name__}; convert it "
            "(torch.from_numpy, float, dict)"
        )
