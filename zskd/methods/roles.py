"""Views of their own for teacher and student, changed by schedules.

Source: "Role-wise data augmentation for knowledge distillation", Fu et al. (2020), arXiv 2004.08861.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from zskd.config.methods.roles import RolesOptions, Stage, read_schedule, stage_at, teacher_until
from zskd.errors import InputError
from zskd.methods.context import Batch, Run
from zskd.methods.live_rows import LiveRows, part_of, special_ids, word_ids
from zskd.methods.step import Step


class Roles(LiveRows):
    """What the teacher labels and what the student reads are changed by a schedule of each.

    A schedule has stages, each until a share of the steps; a stage has operations with a probability, whether a row has
    it, and a magnitude, the share of the row's tokens (special tokens never change):

    - ``drop``: these tokens go. ``replace``: any others stand there. ``mask``: the mask token stands there.
    - ``swap``: each of these changes places with the next. ``crop``: so many go at the two ends of the row.

    The student reads its view of every row. The teacher's answers are those of the text as it was labelled, but for
    ``roles_share`` of each batch, whose labels are asked for anew on the teacher's view, as long as its schedule has
    operations. Both views are made of the row itself. What is drawn for a row does not depend on the role, so two equal
    schedules give one view, and this is ordinary augmentation.

    In the paper a population of networks finds the schedules, with labels; ``recipes/role_search.py`` finds them by
    agreement with the teacher on text that is not changed. Here the teacher is not trained again.

    *Needs* nothing for a schedule of the student; for one of the teacher, a teacher with weights and one vocabulary.
    *Costs* one forward pass of the teacher for each row that is asked for. *Coupling*: rows. *Neutral*: no schedule, or
    one in which nothing happens.

    Args:
        options: None for the defaults.
        schedule: in place of that of ``options.roles_schedule``.

    Example:
        >>> from zskd.config.methods.roles import schedule_of
        >>> from zskd.methods.roles import Roles
        >>> Roles(schedule=schedule_of({"student": [{"until": 0.5, "mask": [1.0, 0.2]}]}, "mine")).row_share
        0.0
    """

    name = "roles"

    def __init__(self, options: RolesOptions | None = None, *, schedule: dict[str, list[Stage]] | None = None) -> None:
        super().__init__()
        self.options = options or RolesOptions()
        self.schedule = read_schedule(self.options.roles_schedule) if schedule is None else schedule

    @property
    def wants_live_teacher(self) -> bool:  # type: ignore[override]
        """Where the teacher has a view of its own."""
        return bool(self.row_share)

    @property
    def row_share(self) -> float:
        """``roles_share``, or 0 where the teacher has no view of its own."""
        return self.options.roles_share if teacher_until(self.schedule) else 0.0

    def prepare(self, run: Run) -> None:
        """Look at the tokenizer, and at both models where the teacher is asked.

        Raises:
            InputError: as `LiveRows.prepare`; or there is no mask token for ``mask``.
        """
        if self.row_share:
            self.teacher_of(run)
        if run.tokenizer is None:
            raise ValueError(f"{self.name}: expected a tokenizer (processing_class), found none")
        self.special = special_ids(run.tokenizer)
        self.words = word_ids(run.tokenizer)
        self.mask, self.padding = run.tokenizer.mask_token_id, run.tokenizer.pad_token_id or 0
        used = {name for stages in self.schedule.values() for stage in stages for name in stage.operations}
        if "mask" in used and self.mask is None:
            raise InputError(
                f"--roles-schedule {self.options.roles_schedule}: expected a tokenizer with a mask token for `mask`, "
                "found none; leave that operation out"
            )

    def batch(self, batch: Batch, step: Step) -> Batch:
        """The student's view of all rows; ``teacher_logits`` of some are asked for anew."""
        found = step.rows(self.row_share) if step.progress < teacher_until(self.schedule) else np.array([], dtype=int)
        made = self.view(batch, "student", step)
        if made is not batch or len(found):
            self.refuse_gold(batch)
        if len(found):
            rows = torch.from_numpy(found).to(batch["input_ids"].device)
            answer = self.ask(step, part_of(self.view(batch, "teacher", step), rows)).logits
            made = {**made, "teacher_logits": batch["teacher_logits"].clone()}
            made["teacher_logits"][rows] = answer.to(batch["teacher_logits"])
            before = batch["teacher_logits"][rows].argmax(dim=1)
            self.notes.add("same_class", (answer.argmax(dim=1) == before).float())
        return made

    def view(self, batch: Batch, role: str, step: Step) -> Batch:
        """A batch as a role reads it at this step."""
        stage = stage_at(self.schedule[role], step.progress)
        if stage is None or not stage.active:
            return batch
        made: Batch = {name: values.clone() for name, values in part_of(batch, slice(None)).items()}
        for row, place in enumerate(step.places.tolist()):
            there = batch["attention_mask"][row].nonzero()[:, 0].cpu()
            columns: dict[str, np.ndarray] = {name: batch[name][row].cpu()[there].numpy() for name in made}
            kept = self._changed(columns, stage, step, place)
            for name, values in kept.items():
                made[name][row] = self.padding if name == "input_ids" else 0
                made[name][row, there[: len(values)]] = torch.from_numpy(values).to(made[name])
        return {**batch, **made}

    def _changed(self, columns: dict[str, np.ndarray], stage: Stage, step: Step, place: int) -> dict[str, np.ndarray]:
        """A row's columns, without padding, after the operations of a stage."""
        for name, (probability, magnitude) in stage.operations.items():
            rng = step.rng(place, use=name)
            if rng.random() >= probability:
                continue
            free = np.flatnonzero(~np.isin(columns["input_ids"], self.special.numpy()))
            count = round(magnitude * len(free))
            if not count:
                continue
            chosen = np.sort(rng.permutation(free)[:count])
            if name == "drop":
                columns = {key: np.delete(values, chosen) for key, values in columns.items()}
            elif name == "crop":
                first = int(rng.integers(count + 1))
                ends = np.concatenate([free[:first], free[len(free) - (count - first) :]])
                columns = {key: np.delete(values, ends) for key, values in columns.items()}
            else:
                ids = columns["input_ids"].copy()
                if name == "swap":
                    order = {int(place): i for i, place in enumerate(free)}
                    for here in chosen[: -1 if chosen[-1] == free[-1] else None].tolist():
                        after = int(free[order[here] + 1])
                        ids[here], ids[after] = ids[after], ids[here]
                else:
                    ids[chosen] = self.mask if name == "mask" else rng.choice(self.words, count)
                columns = {**columns, "input_ids": ids}
        return columns

    @property
    def _plain(self) -> dict[str, Any]:
        return {
            role: [{"until": stage.until, **{k: list(v) for k, v in stage.operations.items()}} for stage in stages]
            for role, stages in self.schedule.items()
        }

    def files(self) -> dict[str, Any]:
        """The schedule, so that a run folder says what happened."""
        return {"roles.json": self._plain}

    def state(self) -> dict[str, Any]:
        """Also the schedule, whose file may change."""
        return {**super().state(), "schedule": self._plain}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: the training began with another schedule.
        """
        super().load_state(state)
        if state["schedule"] != self._plain:
            raise InputError(
                f"--roles-schedule {self.options.roles_schedule}: expected the schedule that the training began with, "
                "found another; put it back, or begin anew in another folder"
            )
