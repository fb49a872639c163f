"""Inputs moved uphill on the squared difference of both models' logits, in the space of word embeddings.

Source: Jafari et al. (2023), "Improved knowledge distillation by utilizing backward pass knowledge in neural networks",
arXiv 2301.12006.
"""

from __future__ import annotations

import torch

from zskd.config.methods.backward_pass import BackwardPassOptions
from zskd.methods.context import Batch
from zskd.methods.embedding_space import climb, movable, radii
from zskd.methods.live_rows import MovedRows, embedded, part_of, with_offset
from zskd.methods.step import Step
from zskd.models import entry


class BackwardPass(MovedRows):
    """A share of every batch is moved to where student S and teacher T differ more, and learned with T's answer there.

    For the word embeddings e of a row ``(tokens, width)``, ``backward_steps`` steps of equal length η go along the
    gradient and end in an L2 ball:

        δ ← δ + η g/‖g‖,  g = ∇_δ ‖S(E_S[x] + δ M) - T(e + δ)‖²

    The square is summed over the logits. δ is 0 on special tokens and padding. M turns the teacher's movement into the
    student's (`TableMap` in `zskd.methods.embedding_space`). The row then has the logits T(e + δ) as its target, in the
    objective of the run. All other rows stay as they are.

    The paper moves the student's embeddings and maps them to the teacher's. Here the movement is found in the teacher's
    table, which is the wider one, and both models read the input itself at δ = 0.

    *Needs* a teacher with weights and one vocabulary. *Costs*, for each moved row, ``backward_steps + 1`` forward and
    ``backward_steps`` backward passes of the teacher, and ``backward_steps`` of both of the student. *Coupling*: rows.
    *Neutral*: ``backward_share=0``.

    Args:
        options: None for the defaults.

    Example:
        >>> from zskd.config.methods.backward_pass import BackwardPassOptions
        >>> from zskd.methods.backward_pass import BackwardPass
        >>> BackwardPass(BackwardPassOptions(backward_share=0.25)).row_share
        0.25
    """

    name = "backward-pass"

    def __init__(self, options: BackwardPassOptions | None = None) -> None:
        super().__init__()
        self.options = options or BackwardPassOptions()

    @property
    def row_share(self) -> float:
        """``backward_share``."""
        return self.options.backward_share

    def batch(self, batch: Batch, step: Step) -> Batch:
        """Move this step's rows; adds ``offset``, and their ``teacher_logits`` are those of the moved rows."""
        if not len(found := step.rows(self.row_share)):
            return batch
        assert step.teacher is not None and step.student is not None
        self.refuse_gold(batch)
        rows = torch.from_numpy(found).to(batch["input_ids"].device)
        part, student = part_of(batch, rows), step.student.eval()
        embeds = embedded(batch, rows, step.teacher.embeddings)
        own = embedded(batch, rows, student.get_input_embeddings()).detach()
        apart: list[torch.Tensor] = []

        def difference(point: torch.Tensor) -> torch.Tensor:
            answer = self.ask(step, part, point, grad=True).logits
            with step.autocast():
                read = entry.forward(
                    student,
                    embeds=own + self.students(point - embeds),
                    mask=part["attention_mask"],
                    segments=part.get("token_type_ids"),
                )
            apart.append((read.logits.float() - answer).square().sum(dim=1))
            return apart[-1]

        free = movable(part["input_ids"], part["attention_mask"], self.special.to(rows.device))
        most = radii(embeds, free, self.options.backward_radius)
        moved = climb(embeds, free, most, self.options.backward_steps, difference)
        logits = self.ask(step, part, embeds + moved).logits
        self.notes.add("difference", apart[0])
        self.notes.add("same_class", (logits.argmax(dim=1) == batch["teacher_logits"][rows].argmax(dim=1)).float())
        return with_offset(batch, rows, self.students(moved), logits)
