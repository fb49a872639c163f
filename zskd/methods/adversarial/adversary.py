"""The adversary as a method: adversarial rows in the student's batches, and the generator's own training.

Source: Rashid et al. (2021), "Towards Zero-Shot Knowledge Distillation for NLP".
"""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from zskd.config.methods.adversarial import AdversarialOptions
from zskd.config.methods.adversarial_schedule import Origin, Schedule, make_schedule
from zskd.methods.adversarial.collapse import CollapseStop
from zskd.methods.adversarial.replay import ReplayBuffer, Row
from zskd.methods.adversarial.rounds import Rounds
from zskd.methods.adversarial.setup import prepare_writer
from zskd.methods.adversarial.writer import Inputs, Rewritten, Writer
from zskd.methods.context import Batch, Run, StudentOutput, Training
from zskd.methods.method import MICRO, ROWS, Method
from zskd.methods.step import Step
from zskd.metrics.divergence import kl_divergence
from zskd.system.files import write_text
from zskd.system.processes import gather
from zskd.system.seeds import Stream
from zskd.transfer.collator import ID_COLUMNS, TransferCollator, unpadded_rows

HARD_ROWS = 512  # that are kept to be rewritten; newer ones say more about the student
_KNOWN = {*ID_COLUMNS, "attention_mask", "teacher_logits"}


class Adversarial(Method):
    """Rewrites some rows of every batch, trains the generator and remembers what it wrote.

    In a step the rows are written by the generator as it was when the step began, and the student learns them as they
    are; the generator changes once, when the step ends, before the student does. So splitting a batch over
    micro-batches or processes changes nothing, but for two terms of the generator's loss that concern a whole batch
    (balance and diversity): over processes they use the mean of all, over micro-batches each its own.

    Args:
        writer: a `GradientAdversary` or `CandidateAdversary`; None: made of `options` when `prepare` is called.
        options: None for the defaults; those of `writer` where there is one.

    Raises:
        ValueError: of several processes one would have a batch without a fresh row (`begin`).

    Source: Rashid et al. (2021), "Towards Zero-Shot Knowledge Distillation for NLP".

    Attributes:
        buffer: what was written before, the same in every process.
        hard: transfer rows on which student and teacher differed most, likewise; with ``hard_share`` below 1 these are
            what the generator rewrites.
        rounds: what has happened; ``rounds.examples`` are texts before and after.

    Example:
        >>> from zskd.config.methods.adversarial import AdversarialOptions
        >>> from zskd.methods.adversarial.adversary import Adversarial
        >>> Adversarial(options=AdversarialOptions(balance_weight=0.0, diversity_weight=0.0)).coupling
        'rows'
    """

    name = "adversarial"
    folder = "adversary"
    phase = "generator"
    splits = True

    def __init__(self, writer: Writer | None = None, options: AdversarialOptions | None = None) -> None:
        self.options = options or (writer.options if writer is not None else AdversarialOptions())
        self.hard = ReplayBuffer(HARD_ROWS)
        self.buffer = ReplayBuffer(self.options.replay_size)
        self.collapse = CollapseStop()
        self._queries = 0
        if writer is not None:
            self._use(writer)

    def _use(self, writer: Writer) -> None:
        self.writer = writer
        self.parameters = writer.trainable()
        self.optimizer = writer.make_optimizer()
        self.rounds = Rounds(writer.tokenizer)
        self.collate = TransferCollator.of(writer.tokenizer)
        self._gradients: list[torch.Tensor | None] = [None] * len(self.parameters)
        self._written: list[tuple[int, Row]] = []
        self._transfer: list[tuple[int, Row]] = []  # of the micro-batch, by place in the whole batch
        self._missed: list[tuple[list[tuple[int, Row]], torch.Tensor]] = []  # of the step, with the divergence
        self._present: set[int] = set()  # origins of rows of the micro-batch
        self._step: list[tuple[Inputs, Step, Rewritten]] = []  # one for each micro-batch

    @property
    def coupling(self) -> str | int:
        """Two terms of the generator's loss concern the rows of a micro-batch together."""
        return MICRO if self.options.balance_weight or self.options.diversity_weight else ROWS

    def prepare(self, run: Run) -> None:
        """Load or build the generator, warm it up and join it with the teacher.

        Raises:
            InputError: the generator does not load, or vocabularies differ that have to be one.
        """
        if not hasattr(self, "writer"):
            self._use(prepare_writer(self.options, run))

    def begin(self, training: Training) -> None:
        """Every process has a part in every mean over processes, so that none waits for another that has no rows.

        Raises:
            ValueError: of several processes one would have a batch without a fresh row.
        """
        self.accelerator, size = training.accelerator, training.batch_size
        world = self.accelerator.num_processes
        whole = self.schedule(1).origins(0, size * world * training.accumulation)
        if world > 1 and not (whole.reshape(-1, size) == Origin.FRESH).any(axis=1).all():
            raise ValueError(
                f"fresh_share {self.options.fresh_share}: expected at least one fresh row in every batch of "
                f"{size} rows (per_device_train_batch_size); raise either"
            )
        self.writer.to(self.accelerator.device)
        self.temperature = training.temperature

    def callbacks(self) -> list[TrainerCallback]:
        """The run is ended when it has collapsed."""
        return [self.collapse]

    @property
    def stopped(self) -> str | None:
        """Why the run was ended early."""
        return self.collapse.reason

    @property
    def queries(self) -> int:
        """Texts the teacher was asked for, over all processes."""
        return self._queries

    def schedule(self, steps: int) -> Schedule:
        """The schedule of a run of `steps` optimizer steps."""
        return make_schedule(self.options, steps)

    def batch(self, batch: Batch, step: Step) -> Batch:
        """Replace rows of a micro-batch by fresh and replayed ones; adds ``origin`` ``(batch,)`` int64.

        Raises:
            ValueError: the rows have further columns, which would not hold for rewritten ones.
        """
        schedule = self.schedule(step.total)
        if not schedule.active(step.number):
            return batch
        if more := sorted(set(batch) - _KNOWN):
            raise ValueError(f"{self.name}: rows are rewritten, so they cannot have the columns {', '.join(more)}")
        origins = schedule.origins(int(step.places[0]), len(step.places))
        rows = unpadded_rows(batch)
        fresh = np.flatnonzero(origins == Origin.FRESH)
        if len(fresh):
            whole = int((schedule.origins(0, step.size) == Origin.FRESH).sum())
            progress = (step.number - schedule.start) / max(1, step.total - schedule.start)
            writing = step.at(fresh, whole, progress)
            old = self._tensors([self._source(rows[i], step, int(step.places[i])) for i in fresh.tolist()])
            del old["teacher_logits"]
            # Elsewhere the loss on fresh rows says as much as the divergence.
            learn, compare = schedule.learns(step.number), schedule.closes_round(step.number)
            assert step.student is not None
            written = self.writer.rewrite(step.student, old, writing, learn=learn, compare=compare)
            self._learn(written, step.micros)
            new = unpadded_rows({**written.inputs, "teacher_logits": written.teacher_logits})
            for i, row in zip(fresh.tolist(), new, strict=True):
                rows[i] = row
                self._written.append((int(step.places[i]), {**row, "step": step.number}))
            self.rounds.note_rewritten(written, old)
            self._step.append((old, writing, written))
        if len(self.buffer):
            for i in np.flatnonzero(origins == Origin.REPLAYED).tolist():
                rows[i] = self.buffer.draw(len(rows[i]["input_ids"]), step.rng(int(step.places[i]), Stream.REPLAY))
                self.rounds.note("replay_age", step.number - rows[i]["step"])
        else:
            origins[origins == Origin.REPLAYED] = Origin.TRANSFER
        mixed = self._tensors(rows)
        self._present = set(origins.tolist())
        if self.options.hard_share < 1.0:
            transfer = np.flatnonzero(origins == Origin.TRANSFER)
            self._transfer = [(int(step.places[i]), {**rows[i], "step": step.number}) for i in transfer]
        mixed["origin"] = torch.from_numpy(origins).to(self.accelerator.device)
        return mixed

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        """Take down the student's loss on the rows by their origin; nothing is added to the objective."""
        if "origin" not in batch:
            return None
        origins = batch["origin"]
        with torch.no_grad():
            divergence = kl_divergence(batch["teacher_logits"], output.logits, self.temperature)
        for origin in (Origin.TRANSFER, Origin.FRESH, Origin.REPLAYED):
            if origin in self._present:
                chosen = origins == origin
                self.rounds.note(f"loss_{origin.name.lower()}", divergence.where(chosen, 0.0).sum() / chosen.sum())
        if self._transfer:
            self._missed.append((self._transfer, divergence[origins == Origin.TRANSFER]))
            self._transfer = []
        return None

    def end_step(self, step: Step) -> dict[str, float] | None:
        """Remember what the step wrote and change the generator.

        Returns:
            What is to be logged, at the end of a round.
        """
        schedule = self.schedule(step.total)
        if not schedule.active(step.number):
            return None
        written = sorted(step.gather(self._written), key=lambda pair: pair[0])
        self._written = []
        self.buffer.add(row for _, row in written)
        self._keep_hard(step)
        self._queries += len(written) * self.writer.queries_per_row()
        if schedule.learns(step.number):
            self.rounds.note("generator_gradient", self._update())
            if schedule.opens_round(step.number):
                self._look_again(step)
        report = self._close(step.number) if schedule.closes_round(step.number) else None
        self._step = []
        return report

    def _source(self, row: Row, step: Step, place: int) -> Row:
        """What is rewritten in a place: the row that stood there, or a hard one of nearly its length."""
        if not len(self.hard):
            return row
        return self.hard.draw(len(row["input_ids"]), step.rng(place, Stream.SOURCES))

    def _keep_hard(self, step: Step) -> None:
        """Keep the share of the step's transfer rows with the largest divergence, over all processes."""
        if self.options.hard_share == 1.0:
            return
        # One fetch from the device for each micro-batch, not one for each row.
        own = [(*one, loss) for rows, losses in self._missed for one, loss in zip(rows, losses.tolist(), strict=True)]
        missed: list[tuple[int, Row, float]] = step.gather(own)
        self._missed = []
        count = math.ceil(self.options.hard_share * len(missed))
        hardest = sorted(missed, key=lambda one: one[2], reverse=True)[:count]
        self.hard.add(row for _, row, _ in sorted(hardest, key=lambda one: one[0]))

    def _learn(self, written: Rewritten, micros: int) -> None:
        if written.loss is None:
            return
        # Only the generator's: teacher and student are on the way of the gradient and keep none.
        gradients = torch.autograd.grad(written.loss / micros, self.parameters, allow_unused=True)
        for i, gradient in enumerate(gradients):
            held = self._gradients[i]
            self._gradients[i] = gradient if held is None else held if gradient is None else held + gradient

    def _update(self) -> torch.Tensor:
        """One step of the generator; returns the norm of its gradient before clipping."""
        gradients = [None if g is None else self.accelerator.reduce(g, "mean") for g in self._gradients]
        self._gradients = [None] * len(self.parameters)
        return self.writer.step(self.optimizer, gradients)

    def _look_again(self, step: Step) -> None:
        """The divergence on the same rows and noise after the generator's step."""
        seen: list[tuple[float, float]] = []
        assert step.student is not None
        for old, writing, written in self._step:
            again = self.writer.rewrite(step.student, old, writing, learn=False)
            assert written.divergence is not None and again.divergence is not None
            seen += zip(written.divergence.tolist(), again.divergence.tolist(), strict=True)
        if not (found := step.gather(seen)):
            return  # batches so small, or a share so low, that no row of a batch is fresh
        before, after = zip(*found, strict=True)
        self._queries += len(before) * self.writer.queries_per_row()
        self.rounds.note("divergence_before_step", statistics.fmean(before))
        self.rounds.note("divergence_after_step", statistics.fmean(after))

    def _tensors(self, rows: list[Row]) -> Inputs:
        """Rows as a batch on the trainer's device."""
        batch = self.collate([{name: row[name] for name in row if name in _KNOWN} for row in rows])
        return {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}

    def _close(self, number: int) -> dict[str, float]:
        report = self.rounds.close()
        report |= {"teacher_queries": float(self._queries), "replay_rows": float(len(self.buffer))}
        for old, _, written in self._step[:1]:
            self.rounds.show(number, old, written)
        return {f"{self.name}/{name}": value for name, value in report.items()}

    def files(self) -> dict[str, Any]:
        """Texts before and after."""
        return {"adversarial.json": self.rounds.examples}

    def card(self) -> str | None:
        """What was done to the rows."""
        return "on rows of which a generator rewrote some where teacher and student disagreed"

    def save(self, folder: Path, *, main: bool = True) -> None:
        """Write all that a resumed run needs; every process has seen other rows of the round that is going on."""
        rounds = gather(self.rounds.so_far())
        if not main:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.writer.generator.save_pretrained(folder / "generator")
        torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")
        save_file(self.buffer.state(), folder / "replay.safetensors")
        save_file(self.hard.state(), folder / "hard.safetensors")
        state = {"queries": self._queries, "examples": self.rounds.examples, "round": rounds[0], "rounds": rounds}
        write_text(folder / "state.json", json.dumps(state) + "\n")

    def load(self, folder: Path, device: torch.device) -> None:
        """Take over what `save` wrote."""
        weights = type(self.writer.generator).from_pretrained(folder / "generator").state_dict()
        self.writer.generator.load_state_dict(weights)
        self.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", map_location=device, weights_only=True))
        self.buffer.load(load_file(folder / "replay.safetensors"))
        self.hard.load(load_file(folder / "hard.safetensors"))
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        self._queries = state["queries"]
        rounds = state.get("rounds", [state["round"]])  # an older checkpoint has the main process's alone
        index = self.accelerator.process_index if self.accelerator.process_index < len(rounds) else 0
        self.rounds.load(rounds[index], state["examples"])
