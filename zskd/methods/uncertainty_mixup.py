"""Rows that the student is unsure of, mixed with other rows; the teacher is asked for the mixtures alone.

Source: UNIX, "Computation-efficient knowledge distillation via uncertainty-aware mixup", Xu et al. (2020), arXiv
2012.09413.
"""

from __future__ import annotations

import numpy as np
import torch

from zskd.config.methods.shares import rows_of
from zskd.config.methods.uncertainty_mixup import UncertaintyMixupOptions
from zskd.errors import InputError
from zskd.methods.context import Batch, Run
from zskd.methods.live_rows import LiveRows, embedded, part_of
from zskd.methods.method import MICRO, ROWS
from zskd.methods.step import Step
from zskd.metrics.divergence import entropy
from zskd.models import entry

KEPT = 0.75  # of a batch that the paper ranks: 48 of 64 rows


class UncertaintyMixup(LiveRows):
    """The rows of a batch that the student is least sure of are mixed with others; they have the teacher's new answer.

    The student scores the batch without gradients and dropout. The ``mixup_share`` of the batch with the largest
    uncertainty is kept, and the row of rank r = 0, 1, ... of k rows has the word embeddings

        (1 - m_r) e_r + m_r e_partner,  m_r = λ sigmoid(w (r / n - (2 b - 1) / (2 n))),  n = k / 0.75,  b = n / 2

    λ is uniform in a step (Beta(1, 1)) and w is ``mixup_steepness``. Partners are drawn from the whole batch. So the
    row that the student is least sure of stays nearly pure. With ``mixup_share=0.75`` these are the weights of the
    paper; a smaller share stretches the ranks. The mask of a mixture is the union of both, its segments are those of
    the larger part, and both models mix alike, each in its own table. All other rows keep their cached answer; in the
    paper they are dropped, which saves the student's work too.

    *Needs* a teacher with weights and one vocabulary. *Costs* one forward pass of the teacher for each mixture and one
    of the student for each row. *Coupling*: a whole batch, so neither accumulation nor several processes. *Neutral*:
    ``mixup_share=0``.

    Args:
        options: None for the defaults.

    Example:
        >>> from zskd.methods.uncertainty_mixup import mixing_weights
        >>> [round(weight, 3) for weight in mixing_weights(batch=64, b=32, w=10.0)[[0, 31, 47]].tolist()]
        [0.007, 0.48, 0.918]
    """

    name = "uncertainty-mixup"

    def __init__(self, options: UncertaintyMixupOptions | None = None) -> None:
        super().__init__()
        self.options = options or UncertaintyMixupOptions()

    @property
    def coupling(self) -> str | int:
        """All rows of a batch are ranked together."""
        return MICRO if self.options.mixup_share else ROWS

    def prepare(self, run: Run) -> None:
        """Look at both models.

        Raises:
            InputError: as `LiveRows.prepare`, or the student counts positions by token ids, which a mixture lacks.
        """
        super().prepare(run)
        if self.options.mixup_share and entry.counts_positions(run.student):
            raise InputError(
                f"--method {self.name}: expected a student whose positions do not depend on token ids, found "
                f"{run.student.config.model_type}; use --student build"
            )

    def batch(self, batch: Batch, step: Step) -> Batch:
        """Mix this step's rows; sets ``partner``, ``share``, the mask, segments and ``teacher_logits`` of these."""
        share, present = self.options.mixup_share, len(batch["input_ids"])
        count = min(rows_of(share, step.size), rows_of(share, present))  # the last batch of an epoch may be short
        if not count:
            return batch
        self.refuse_gold(batch)
        assert step.student is not None and step.teacher is not None
        rng = step.rng(int(step.places[0]), use="mixture")
        unsure = self._uncertainty(batch, step)
        rows = unsure.argsort(descending=True, stable=True)[:count]
        partners = torch.from_numpy(rng.permutation(len(unsure)))[:count].to(rows)
        most = float(rng.beta(1.0, 1.0))
        weights = most * mixing_weights(count / KEPT, count / KEPT / 2, self.options.mixup_steepness, count)
        mixed = _mixed(batch, rows, partners, torch.from_numpy(weights).float().to(rows.device))
        part = part_of(mixed, rows)
        logits = self.ask(step, part, embedded(mixed, rows, step.teacher.embeddings)).logits
        mixed["teacher_logits"] = batch["teacher_logits"].clone()
        mixed["teacher_logits"][rows] = logits.to(batch["teacher_logits"])
        self.notes.add("uncertainty", unsure)
        self.notes.add("uncertainty_of_mixed", unsure[rows])
        return mixed

    def _uncertainty(self, batch: Batch, step: Step) -> torch.Tensor:
        """How unsure the student is of each row, ``(batch,)``."""
        assert step.student is not None
        student = step.student.eval()
        with torch.no_grad(), step.autocast():
            logits = student(**part_of(batch, slice(None))).logits.float()
        return uncertainty(logits, self.options.mixup_uncertainty)


def uncertainty(logits: torch.Tensor, kind: str) -> torch.Tensor:
    """How unsure logits ``(rows, classes)`` are, ``(rows,)``; larger is less sure.

    Args:
        kind: ``entropy``, ``margin`` (minus the difference of the two largest probabilities) or ``confidence`` (minus
            the largest).
    """
    if kind == "entropy":
        return entropy(logits)
    largest = logits.softmax(dim=1).topk(2, dim=1).values
    return largest[:, 1] - largest[:, 0] if kind == "margin" else -largest[:, 0]


def mixing_weights(batch: float, b: float, w: float, count: int | None = None) -> np.ndarray:
    """What the rows of the ranks 0, 1, ... take of their partners, before λ, ``(count,)``.

    Args:
        batch: rows that are ranked.
        b: rank at which a row is one half its partner.
        w: steepness there.
        count: of ranks; None for all of the batch.
    """
    ranks = np.arange(int(batch) if count is None else count)
    steep = np.clip(w * (ranks / batch - (2 * b - 1) / (2 * batch)), -500, 500)
    weights: np.ndarray = 1 / (1 + np.exp(-steep))
    return weights


def _mixed(batch: Batch, rows: torch.Tensor, partners: torch.Tensor, weights: torch.Tensor) -> Batch:
    """A copy of a batch with partners, shares, masks and segments of mixtures."""
    ids = batch["input_ids"]
    partner, share = torch.arange(len(ids), device=ids.device), torch.ones(len(ids), device=ids.device)
    partner[rows], share[rows] = partners, 1 - weights
    mask = batch["attention_mask"].clone()
    mask[rows] = torch.maximum(mask[rows], batch["attention_mask"][partners])
    made = {**batch, "partner": partner, "share": share, "attention_mask": mask}
    if (segments := batch.get("token_type_ids")) is not None:
        made["token_type_ids"] = segments.clone()
        made["token_type_ids"][rows] = segments[torch.where(weights > 0.5, partners, rows)]
    return made
