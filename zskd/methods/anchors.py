"""Text mixed with anchors: points near it in the space of word embeddings of which the teacher is surer.

Source: AuG-KD, "Anchor-based mixup generation for out-of-domain knowledge distillation", Tang et al. (ICLR 2024),
arXiv 2403.07030.
"""

from __future__ import annotations

import numpy as np
import torch

from zskd.config.methods.anchors import AnchorsOptions, active_until
from zskd.methods.context import Batch, Run
from zskd.methods.embedding_space import climb, movable, radii
from zskd.methods.live_rows import MovedRows, embedded, part_of, with_offset
from zskd.methods.step import Step
from zskd.system.seeds import Stream, generator


class Anchors(MovedRows):
    """A share of every batch is mixed with its anchors, and the share of the text in the mixture rises to 1.

    For the word embeddings e of a row, the teacher's logits z and the class ŷ that it gives the row:

        energy(e) = -logsumexp z(e)
        anchor = e + m(ŷ) ⊙ δ,  δ by ``anchors_steps`` steps of equal length down the energy, in an L2 ball
        mixture = (1 - s) anchor + s e,  s = min(b + (1 - b) progress / a, 1)

    b is ``anchors_text`` and a ``anchors_until``. m(ŷ) is a half of the dimensions, drawn once for each class. The row
    then has the teacher's logits of the mixture as its target. δ is 0 on special tokens and padding, and the student
    is moved by what `TableMap` makes of it (`zskd.methods.embedding_space`).

    The paper works on images with a generator, an encoder and a learned mask. Here there is none of these: an anchor
    comes from the gradient, and the mask is drawn. In the third stage of its public code the student answers in place
    of the teacher; here the teacher does.

    *Needs* a teacher with weights and one vocabulary. *Costs*, for each mixed row, ``anchors_steps + 1`` forward and
    ``anchors_steps`` backward passes of the teacher, until s is 1. *Coupling*: rows. *Neutral*: ``anchors_share=0`` or
    ``anchors_text=1``.

    Args:
        options: None for the defaults.

    Example:
        >>> from zskd.config.methods.anchors import AnchorsOptions
        >>> from zskd.methods.anchors import Anchors
        >>> anchors = Anchors(AnchorsOptions(anchors_text=0.2, anchors_until=0.6))
        >>> [round(anchors.text_share(progress), 2) for progress in (0.0, 0.3, 0.6, 0.9)]
        [0.2, 0.6, 1.0, 1.0]
    """

    name = "anchors"

    def __init__(self, options: AnchorsOptions | None = None) -> None:
        super().__init__()
        self.options = options or AnchorsOptions()
        self.dimensions: torch.Tensor | None = None

    @property
    def row_share(self) -> float:
        """``anchors_share``."""
        return self.options.anchors_share

    def text_share(self, progress: float) -> float:
        """s, the share of the text in a mixture, after a share of the steps; it rises from `anchors_text` to 1."""
        start, until = self.options.anchors_text, active_until(self.options)
        return 1.0 if progress >= until else start + (1 - start) * progress / until

    def prepare(self, run: Run) -> None:
        """Map the teacher's table to the student's, and draw a half of the dimensions for each class.

        Raises:
            InputError: the teacher has no weights, or the models have no common vocabulary.
        """
        super().prepare(run)
        assert self.map is not None
        width = len(self.map.matrix)  # of the teacher's table
        drawn = [
            generator(Stream.METHOD, run.seed, f"{self.name}/dimensions", label).permutation(width) < width // 2
            for label in range(run.student.config.num_labels)
        ]
        self.dimensions = torch.from_numpy(np.stack(drawn)).float()

    def batch(self, batch: Batch, step: Step) -> Batch:
        """Mix this step's rows; adds ``offset``, and their ``teacher_logits`` are those of the mixtures."""
        text = self.text_share(step.progress)
        if text == 1.0 or not len(found := step.rows(self.row_share)):
            return batch
        assert step.teacher is not None and self.dimensions is not None
        self.refuse_gold(batch)
        rows = torch.from_numpy(found).to(batch["input_ids"].device)
        part = part_of(batch, rows)
        embeds = embedded(batch, rows, step.teacher.embeddings)
        sure: list[torch.Tensor] = []

        def minus_energy(point: torch.Tensor) -> torch.Tensor:
            sure.append(self.ask(step, part, point, grad=True).logits.logsumexp(dim=1))
            return sure[-1]

        tokens = movable(part["input_ids"], part["attention_mask"], self.special.to(rows.device))
        classes = batch["teacher_logits"][rows].argmax(dim=1)
        free = tokens[..., None] * self.dimensions.to(embeds)[classes][:, None, :]
        most = radii(embeds, tokens, self.options.anchors_radius)
        moved = (1 - text) * climb(embeds, free, most, self.options.anchors_steps, minus_energy)
        logits = self.ask(step, part, embeds + moved).logits
        self.notes.add("energy", -sure[0])
        self.notes.add("energy_of_mixture", -logits.logsumexp(dim=1))
        self.notes.add("same_class", (logits.argmax(dim=1) == classes).float())
        return with_offset(batch, rows, self.students(moved), logits)
