"""Phase 2: adversarial rows in the student's batches, the generator's own training, and what is seen of both."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from zskd.config.methods.adversarial_schedule import Kind, Schedule, make_schedule
from zskd.methods.adversarial.replay import ReplayBuffer, Row
from zskd.methods.adversarial.writer import Inputs, Place, Rewritten, Scope, Writer
from zskd.system.files import write_text
from zskd.system.processes import gather
from zskd.training.arguments import ZeroShotArguments
from zskd.transfer.collator import TransferCollator, unpadded_rows

STREAM = 5  # first word of the seeds of replay draws
SOURCES = 6  # and of draws of rows to rewrite
HARD_ROWS = 512  # that are kept to be rewritten; newer ones say more about the student
EXAMPLES = 3  # rewritten rows that are shown per round


class AdversarialPhase:
    """Rewrites some rows of every batch, trains the generator and remembers what it wrote.

    In a step the rows are written by the generator as it was when the step began, and the student learns them as they
    are; the generator changes once, when the step ends. So splitting a batch over micro-batches or processes changes
    nothing. Everything random is a function of seed, step and the row's place in the whole batch.

    Attributes:
        buffer: what was written before, the same in every process.
        hard: transfer rows on which student and teacher differed most, likewise; with ``hard_share`` below 1 these are
            what the generator rewrites.
        queries: texts the teacher was asked for, over all processes.
        examples: texts before and after, with both models' probabilities.

    Raises:
        ValueError: of several processes one would have a batch without a fresh row.
    """

    def __init__(self, adversary: Writer, arguments: ZeroShotArguments, accelerator: Accelerator) -> None:
        self.adversary, self.arguments, self.accelerator = adversary, arguments, accelerator
        self._check_batches()
        adversary.to(accelerator.device)
        self.parameters = adversary.trainable()
        self.optimizer = adversary.make_optimizer()
        self.buffer = ReplayBuffer(arguments.replay_size)
        self.hard = ReplayBuffer(HARD_ROWS)
        self.queries = 0
        self.examples: list[dict[str, Any]] = []
        self.collate = TransferCollator.of(adversary.tokenizer)
        self._micro = 0
        self._gradients: list[torch.Tensor | None] = [None] * len(self.parameters)
        self._written: list[tuple[int, Row]] = []
        self._transfer: list[tuple[int, Row]] = []  # of the micro-batch, by place in the whole batch
        self._missed: list[tuple[list[tuple[int, Row]], torch.Tensor]] = []  # of the step, with the divergence
        # Numbers, or scalars that stay where they were computed until the round ends: to fetch one is to wait for it.
        self._round: dict[str, list[float | torch.Tensor]] = defaultdict(list)
        self._present: set[int] = set()  # kinds of rows of the micro-batch
        self._step: list[tuple[Inputs, Place, Scope, Rewritten]] = []  # one for each micro-batch

    def _check_batches(self) -> None:
        """Every process has a part in every mean over processes, so that none waits for another that has no rows."""
        world, size = self.accelerator.num_processes, self.arguments.per_device_train_batch_size
        whole = self.schedule(1).kinds(0, size * world * self.arguments.gradient_accumulation_steps)
        if world > 1 and not (whole.reshape(-1, size) == Kind.FRESH).any(axis=1).all():
            raise ValueError(
                f"fresh_share {self.arguments.fresh_share}: expected at least one fresh row in every batch of "
                f"{size} rows (per_device_train_batch_size); raise either"
            )

    def schedule(self, steps: int) -> Schedule:
        """The schedule of a run of `steps` optimizer steps."""
        return make_schedule(self.arguments, steps)

    def mix(self, student: PreTrainedModel, inputs: Inputs, step: int, steps: int, accumulation: int) -> Inputs:
        """Replace rows of a micro-batch by fresh and replayed ones; adds ``row_kind`` ``(batch,)`` int64.

        Args:
            student: not wrapped.
            inputs: with ``teacher_logits``.
            step: optimizer step, from 0; ``steps``: of the whole run.
            accumulation: micro-batches of this step.
        """
        schedule = self.schedule(steps)
        if not schedule.active(step):
            return inputs
        world, size = self.accelerator.num_processes, self.arguments.per_device_train_batch_size
        first = (self._micro * world + self.accelerator.process_index) * size
        self._micro += 1
        kinds = schedule.kinds(first, len(inputs["input_ids"]))
        rows = unpadded_rows(inputs)
        fresh = np.flatnonzero(kinds == Kind.FRESH)
        if len(fresh):
            whole = schedule.kinds(0, size * world * accumulation)
            divisor = float((whole == Kind.FRESH).sum()) / (world * accumulation)
            scope = Scope(divisor, self._mean, self.accelerator.autocast)
            progress = (step - schedule.start) / max(1, steps - schedule.start)
            place = Place(step, first + fresh, self.arguments.seed, progress)
            old = self._tensors([self._source(rows[i], step, first + i) for i in fresh.tolist()])
            # Elsewhere the loss on fresh rows says as much as the divergence.
            learn, compare = schedule.learns(step), schedule.closes_round(step)
            written = self.adversary.rewrite(student, old, place, scope, learn=learn, compare=compare)
            self._learn(written, accumulation)
            new = unpadded_rows({**written.inputs, "teacher_logits": written.teacher_logits})
            for i, row in zip(fresh.tolist(), new, strict=True):
                rows[i] = row
                self._written.append((first + i, {**row, "step": step}))
            self._note(written, old)
            self._step.append((old, place, scope, written))
        if len(self.buffer):
            for i in np.flatnonzero(kinds == Kind.REPLAYED).tolist():
                rng = np.random.default_rng([STREAM, self.arguments.seed, step, first + i])
                rows[i] = self.buffer.draw(len(rows[i]["input_ids"]), rng)
                self._round["replay_age"].append(step - rows[i]["step"])
        else:
            kinds[kinds == Kind.REPLAYED] = Kind.TRANSFER
        mixed = {name: tensor.to(self.accelerator.device) for name, tensor in self.collate(rows).items()}
        self._present = set(kinds.tolist())
        if self.arguments.hard_share < 1.0:
            self._transfer = [(first + i, {**rows[i], "step": step}) for i in np.flatnonzero(kinds == Kind.TRANSFER)]
        mixed["row_kind"] = torch.from_numpy(kinds).to(self.accelerator.device)
        return mixed

    def end_step(self, student: PreTrainedModel, step: int, steps: int) -> dict[str, float] | None:
        """Remember what the step wrote and change the generator.

        Returns:
            What is to be logged, at the end of a round.
        """
        schedule = self.schedule(steps)
        if not schedule.active(step):
            return None
        self._micro = 0
        written = sorted(gather_object(self._written), key=lambda pair: pair[0])
        self._written = []
        self.buffer.add(row for _, row in written)
        self._keep_hard()
        self.queries += len(written) * self.adversary.queries_per_row()
        if schedule.learns(step):
            self._round["generator_gradient"].append(self._update())
            if schedule.opens_round(step):
                self._look_again(student)
        report = self._close(step) if schedule.closes_round(step) else None
        self._step = []
        return report

    def note_student(self, kinds: torch.Tensor, divergence: torch.Tensor) -> None:
        """Take down the student's loss on the rows of a batch, ``(batch,)`` each, by their kind."""
        for kind in (Kind.TRANSFER, Kind.FRESH, Kind.REPLAYED):
            if kind in self._present:
                chosen = kinds == kind
                self._round[f"loss_{kind.name.lower()}"].append(divergence.where(chosen, 0.0).sum() / chosen.sum())
        if self._transfer:
            self._missed.append((self._transfer, divergence[kinds == Kind.TRANSFER]))
            self._transfer = []

    def _source(self, row: Row, step: int, place: int) -> Row:
        """What is rewritten in a place: the row that stood there, or a hard one of nearly its length."""
        if not len(self.hard):
            return row
        return self.hard.draw(len(row["input_ids"]), np.random.default_rng([SOURCES, self.arguments.seed, step, place]))

    def _keep_hard(self) -> None:
        """Keep the share of the step's transfer rows with the largest divergence, over all processes."""
        if self.arguments.hard_share == 1.0:
            return
        # One fetch from the device for each micro-batch, not one for each row.
        own = [(*one, loss) for rows, losses in self._missed for one, loss in zip(rows, losses.tolist(), strict=True)]
        missed: list[tuple[int, Row, float]] = gather_object(own)
        self._missed = []
        count = math.ceil(self.arguments.hard_share * len(missed))
        hardest = sorted(missed, key=lambda one: one[2], reverse=True)[:count]
        self.hard.add(row for _, row, _ in sorted(hardest, key=lambda one: one[0]))

    def _mean(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.accelerator.num_processes == 1:
            return tensor
        return tensor + (self.accelerator.reduce(tensor.detach().clone(), "mean") - tensor.detach())

    def _learn(self, written: Rewritten, accumulation: int) -> None:
        if written.loss is None:
            return
        # Only the generator's: teacher and student are on the way of the gradient and keep none.
        gradients = torch.autograd.grad(written.loss / accumulation, self.parameters, allow_unused=True)
        for i, gradient in enumerate(gradients):
            held = self._gradients[i]
            self._gradients[i] = gradient if held is None else held if gradient is None else held + gradient

    def _update(self) -> torch.Tensor:
        """One step of the generator; returns the norm of its gradient before clipping."""
        gradients = [None if g is None else self.accelerator.reduce(g, "mean") for g in self._gradients]
        self._gradients = [None] * len(self.parameters)
        return self.adversary.step(self.optimizer, gradients)

    def _look_again(self, student: PreTrainedModel) -> None:
        """The divergence on the same rows and noise after the generator's step."""
        seen: list[tuple[float, float]] = []
        for old, place, scope, written in self._step:
            again = self.adversary.rewrite(student, old, place, scope, learn=False)
            assert written.divergence is not None and again.divergence is not None
            seen += zip(written.divergence.tolist(), again.divergence.tolist(), strict=True)
        before, after = zip(*gather_object(seen), strict=True)
        self.queries += len(before) * self.adversary.queries_per_row()
        self._round["divergence_before_step"].append(statistics.fmean(before))
        self._round["divergence_after_step"].append(statistics.fmean(after))

    def _tensors(self, rows: list[Row]) -> Inputs:
        batch = self.collate(rows)
        return {name: value.to(self.accelerator.device) for name, value in batch.items() if name != "teacher_logits"}

    def _note(self, written: Rewritten, old: Inputs) -> None:
        for name, value in written.terms.items():
            self._round[name].append(value)
        changed = written.inputs["input_ids"] != old["input_ids"]
        self._round["changed"].append(float(changed.sum() / old["attention_mask"].sum()))
        tokens = written.inputs["input_ids"][written.written].tolist()
        lengths = old["attention_mask"].sum(dim=1).tolist()
        rows = [ids[:length] for ids, length in zip(written.inputs["input_ids"].tolist(), lengths, strict=True)]
        pairs = [pair for ids in rows for pair in itertools.pairwise(ids)]
        self._round["distinct_1"].append(len(set(tokens)) / max(1, len(tokens)))
        self._round["distinct_2"].append(len(set(pairs)) / max(1, len(pairs)))
        for label, count in Counter(written.teacher_logits.argmax(-1).tolist()).items():
            self._round[f"class_{label}"].append(count / len(changed))
        for label in range(written.teacher_logits.shape[1]):
            self._round.setdefault(f"class_{label}", [])

    def _close(self, step: int) -> dict[str, float]:
        """A round's means, and a few of its rows."""
        count = max(1, len(self._round["changed"]))
        report = {
            name: sum(map(float, values)) / (count if name.startswith("class_") else max(1, len(values)))
            for name, values in self._round.items()
        }
        # The mean over processes, so that whoever judges the log comes to the same end in all of them.
        reports = gather(report)
        report = {name: statistics.fmean(part[name] for part in reports) for name in report}
        report |= {"teacher_queries": float(self.queries), "replay_rows": float(len(self.buffer))}
        self._round.clear()
        for old, _, _, written in self._step[:1]:
            self._show(step, old, written)
        return {f"adversarial/{name}": value for name, value in report.items()}

    def _show(self, step: int, old: Inputs, written: Rewritten) -> None:
        def text(ids: torch.Tensor, mask: torch.Tensor) -> str:
            return str(self.adversary.tokenizer.decode(ids[mask.bool()].tolist()))

        assert written.student_logits is not None
        for i in range(min(EXAMPLES, len(written.teacher_logits))):
            mask = old["attention_mask"][i]
            self.examples.append(
                {
                    "step": step,
                    "before": text(old["input_ids"][i], mask),
                    "after": text(written.inputs["input_ids"][i], mask),
                    "teacher": [round(p, 4) for p in written.teacher_logits[i].softmax(-1).tolist()],
                    "student": [round(p, 4) for p in written.student_logits[i].softmax(-1).tolist()],
                }
            )

    def save(self, folder: Path) -> None:
        """Write all that a resumed run needs."""
        folder.mkdir(parents=True, exist_ok=True)
        self.adversary.generator.save_pretrained(folder / "generator")
        torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")
        save_file(self.buffer.state(), folder / "replay.safetensors")
        save_file(self.hard.state(), folder / "hard.safetensors")
        so_far = {name: [float(value) for value in values] for name, values in self._round.items()}
        state = {"queries": self.queries, "examples": self.examples, "round": so_far}
        write_text(folder / "state.json", json.dumps(state) + "\n")

    def load(self, folder: Path) -> None:
        """Take over what `save` wrote."""
        weights = type(self.adversary.generator).from_pretrained(folder / "generator").state_dict()
        self.adversary.generator.load_state_dict(weights)
        device = self.accelerator.device
        self.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", map_location=device, weights_only=True))
        self.buffer.load(load_file(folder / "replay.safetensors"))
        self.hard.load(load_file(folder / "hard.safetensors"))
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        self.queries, self.examples = state["queries"], state["examples"]
        self._round = defaultdict(list, state["round"])
