"""Inputs that are hard for the teacher, and its states as a further target there.

Source: IKD, "Exploring inconsistent knowledge distillation for object detection with data augmentation", Liang et al.
(ACM MM 2023), arXiv 2209.09841.
"""

from __future__ import annotations

import numpy as np
import torch

from zskd.config.methods.inconsistent import InconsistentOptions
from zskd.methods.context import Batch, Run, StudentOutput
from zskd.methods.embedding_space import climb_in_box, movable
from zskd.methods.layer_pairs import layer_pairs, standardised, token_error
from zskd.methods.live_rows import MovedRows, embedded, part_of, with_offset, word_ids
from zskd.methods.step import Step
from zskd.models import entry


class Inconsistent(MovedRows):
    """A share of every batch is made hard for the teacher, and the student learns its logits and its states there.

    First noise: a row of at most ``inconsistent_short`` tokens has, with probability ``inconsistent_noise``, some of
    them replaced by any tokens of the vocabulary. Then, for the word embeddings e of every row and the class ŷ that the
    teacher gave it, ascent on the teacher's own loss, with each number of δ between -ε and ε:

        δ ← clip(δ + η sign ∇_δ CE(T(e + δ), ŷ), -ε, ε),  ε = ``inconsistent_radius`` · (max e - min e)

    δ is 0 on special tokens and padding, and the student is moved by what `TableMap` makes of it
    (`zskd.methods.embedding_space`). The target is T(e + δ). For the states h of the student's layers l and of the
    teacher's layers g(l) the objective has one more term:

        ``inconsistent_weight`` · mean over rows, layers, tokens and dimensions of (P_l h_l - LN(h_g(l)))²

    P_l is a linear map that is trained and dropped afterwards, LN a layer normalisation without weights. Rows that were
    not changed count 0. From ``inconsistent_until`` on the method is off.

    The paper detects objects in images, with noise where all objects are small, and features matched at all levels. Its
    input diversity has no counterpart here.

    *Needs* a teacher with weights and one vocabulary. *Costs*, for each changed row, ``inconsistent_steps + 1`` forward
    and ``inconsistent_steps`` backward passes of the teacher. *Coupling*: rows. *Neutral*: ``inconsistent_share=0``.

    Args:
        options: None for the defaults.

    Example:
        >>> from zskd.config.methods.inconsistent import InconsistentOptions
        >>> from zskd.methods.inconsistent import Inconsistent
        >>> Inconsistent(InconsistentOptions(inconsistent_share=0.25)).row_share
        0.25
    """

    name = "inconsistent"
    wants_states = True

    def __init__(self, options: InconsistentOptions | None = None) -> None:
        super().__init__()
        self.options = options or InconsistentOptions()
        self._held: tuple[torch.Tensor, list[torch.Tensor]] | None = None  # rows of the micro-batch and their targets

    @property
    def row_share(self) -> float:
        """``inconsistent_share``."""
        return self.options.inconsistent_share

    def prepare(self, run: Run) -> None:
        """Map the teacher's table to the student's, and pair their layers.

        Raises:
            InputError: the teacher has no weights, or the models have no common vocabulary.
        """
        super().prepare(run)
        assert run.teacher is not None and run.tokenizer is not None
        teacher = run.teacher.require_weights(f"--method {self.name}")
        self.layers = layer_pairs(entry.count_layers(run.student), entry.count_layers(teacher.model))
        self.widths = run.student.config.hidden_size, teacher.model.config.hidden_size
        self.words = word_ids(run.tokenizer)

    def modules(self) -> dict[str, torch.nn.Module]:
        """A map from the student's states to the teacher's for each layer of the student."""
        if not self.row_share or not self.options.inconsistent_weight:
            return {}
        self.projectors = torch.nn.ModuleList(torch.nn.Linear(*self.widths) for _ in self.layers)
        return {"projectors": self.projectors}

    def batch(self, batch: Batch, step: Step) -> Batch:
        """Change this step's rows; adds ``offset``, and their ``teacher_logits`` are those of the changed rows."""
        self._held = None
        if step.progress >= self.options.inconsistent_until or not len(found := step.rows(self.row_share)):
            return batch
        assert step.teacher is not None
        self.refuse_gold(batch)
        rows = torch.from_numpy(found).to(batch["input_ids"].device)
        batch = {**batch, "input_ids": self._noisy(batch, found, step)}
        part = part_of(batch, rows)
        embeds = embedded(batch, rows, step.teacher.embeddings)
        classes = batch["teacher_logits"][rows].argmax(dim=1)

        def loss(point: torch.Tensor) -> torch.Tensor:
            answer = self.ask(step, part, point, grad=True).logits
            return torch.nn.functional.cross_entropy(answer, classes, reduction="none")

        free = movable(part["input_ids"], part["attention_mask"], self.special.to(rows.device))
        most = self.options.inconsistent_radius * (embeds.amax(dim=(1, 2)) - embeds.amin(dim=(1, 2)))
        moved = climb_in_box(embeds, free, most, self.options.inconsistent_steps, loss)
        answer = self.ask(step, part, embeds + moved, want_states=True)
        assert answer.states is not None
        self._held = rows, [standardised(answer.states[layer]) for _, layer in self.layers]
        before = batch["teacher_logits"][rows].softmax(dim=1).gather(1, classes[:, None])
        after = answer.logits.softmax(dim=1).gather(1, classes[:, None])
        self.notes.add("confidence", before)
        self.notes.add("confidence_after", after)
        return with_offset(batch, rows, self.students(moved), answer.logits)

    def _noisy(self, batch: Batch, rows: np.ndarray, step: Step) -> torch.Tensor:
        """Token ids ``(batch, tokens)`` with noise in some of the short rows."""
        options, ids = self.options, batch["input_ids"].clone()
        free = movable(batch["input_ids"], batch["attention_mask"], self.special.to(ids.device)).bool()
        # A row that is mixed into another one stays, as the teacher has answered that mixture.
        mixed = set(batch["partner"][batch["share"] < 1].tolist()) if "partner" in batch else set()
        for row in sorted(set(rows.tolist()) - mixed):
            rng = step.rng(int(step.places[row]), use="noise")
            places = free[row].nonzero()[:, 0]
            noisy = rng.random() < options.inconsistent_noise
            if not noisy or int(batch["attention_mask"][row].sum()) > options.inconsistent_short:
                continue
            chosen = places[torch.from_numpy(rng.random(len(places)) < options.inconsistent_tokens).to(places.device)]
            ids[row, chosen] = torch.from_numpy(rng.choice(self.words, len(chosen))).to(ids)
        return ids

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        """The squared error of the student's states on the rows that were changed."""
        if self._held is None or not self.options.inconsistent_weight:
            return None
        assert output.states is not None and output.mask is not None
        rows, targets = self._held
        errors = [
            token_error(project(output.states[layer][rows].float()), target, output.mask[rows])
            for project, (layer, _), target in zip(self.projectors, self.layers, targets, strict=True)
        ]
        error = torch.stack(errors).mean(dim=0)
        self.notes.add("states", error)
        return self.options.inconsistent_weight * error.sum() / len(batch["input_ids"])
