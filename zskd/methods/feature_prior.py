"""A part of the teacher's states as prior knowledge in predicting all of them from the student's.

Source: DPK, "Better teacher better student: dynamic prior knowledge for knowledge distillation", Qiu et al. (2022),
arXiv 2206.06067.
"""

from __future__ import annotations

from typing import Any

import torch

from zskd.config.methods.feature_prior import HEADS, FeaturePriorOptions, width_problems
from zskd.errors import InputError
from zskd.methods.context import Batch, Run, StudentOutput
from zskd.methods.layer_pairs import standardised, token_error
from zskd.methods.live_rows import LiveRows
from zskd.methods.step import Step
from zskd.metrics.similarity import unbiased_cka

FIRST_SIMILARITY, MEMORY = 0.5, 0.9
ENOUGH = 8  # rows for an estimate


class FeaturePrior(LiveRows):
    """The student's last states, some of which are replaced by the teacher's, have to give all of the teacher's.

    For a share of every batch, with the last states s of the student and t of the teacher ``(tokens, width)``:

        hybrid_i = E_T(LN(t))_i where u_i > r, else E_S(s)_i
        loss = ``prior_weight`` · mean over rows, tokens and dimensions of (D(hybrid) - LN(t))²
        r ← 0.9 r + 0.1 CKA(s, t), r = 0.5 at first

    E and D are transformer layers of ``prior_width`` with four heads, between two linear maps; they are trained, and
    dropped afterwards. LN is a layer normalisation without weights. u is uniform, a number for each position and step,
    the same for all rows. So the share of the teacher's states, 1 - r, shrinks as the two come to agree. CKA is the
    unbiased estimate for the means over each row's tokens, because the usual one finds any eight rows alike. It waits
    for eight rows, over several steps where a step compares fewer, and r is cut to between 0 and 1 where it is used.
    Rows that are not compared count 0.

    The paper compares feature maps of images at several depths. Here it is the last layer.

    *Needs* a teacher with weights and one vocabulary. *Costs* one forward pass of the teacher for each compared row.
    *Coupling*: rows; r is of the whole batch. *Neutral*: ``prior_share=0`` or ``prior_weight=0``.

    Args:
        options: None for the defaults.

    Attributes:
        similarity: r.

    Example:
        >>> from zskd.methods.feature_prior import FeaturePrior
        >>> FeaturePrior().similarity
        0.5
    """

    name = "feature-prior"
    wants_states = True

    def __init__(self, options: FeaturePriorOptions | None = None) -> None:
        super().__init__()
        self.options = options or FeaturePriorOptions()
        self.similarity = FIRST_SIMILARITY
        self._held: tuple[torch.Tensor, torch.Tensor] | None = None  # rows of the micro-batch, the teacher's states
        self._means: list[tuple[int, torch.Tensor, torch.Tensor]] = []  # of the step: place, both models' mean states
        self._waiting: list[tuple[torch.Tensor, torch.Tensor]] = []  # until there are `ENOUGH`

    @property
    def row_share(self) -> float:
        """``prior_share``, or 0 where its weight is 0."""
        return self.options.prior_share if self.options.prior_weight else 0.0

    def prepare(self, run: Run) -> None:
        """Look at both models.

        Raises:
            InputError: as `LiveRows.prepare`, or the width is no multiple of the number of heads.
        """
        if problems := width_problems(self.options):
            raise InputError(problems)
        self.widths = run.student.config.hidden_size, self.teacher_of(run).model.config.hidden_size

    def modules(self) -> dict[str, torch.nn.Module]:
        """Projections, encoders and the decoder."""
        if not self.row_share:
            return {}
        width, (own, teachers) = self.options.prior_width, self.widths
        self.parts = torch.nn.ModuleDict({
            "student": _Block(own, width, width),
            "teacher": _Block(teachers, width, width),
            "decoder": _Block(width, width, teachers),
        })  # fmt: skip
        return {"prior": self.parts}

    def batch(self, batch: Batch, step: Step) -> Batch:
        """Ask for the teacher's states of this step's rows; nothing in the batch changes."""
        self._held = self.last_states(batch, step)
        return batch

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        """The error of the decoded states on the rows that are compared."""
        if self._held is None:
            return None
        assert output.states is not None and output.mask is not None
        rows, teachers = self._held
        own, mask = output.states[-1][rows].float(), output.mask[rows]
        error = token_error(
            self.decoded(own, teachers, mask, self.drawn(own.shape[1], step)), standardised(teachers), mask
        )
        self._note(own, teachers, mask, step.places[rows.cpu().numpy()].tolist())
        self.notes.add("states", error)
        return self.options.prior_weight * error.sum() / len(batch["input_ids"])

    def drawn(self, tokens: int, step: Step) -> torch.Tensor:
        """Whether a position has the teacher's state in this step, ``(tokens,)`` bool."""
        drawn = step.rng(0, use="positions").random(tokens)
        return torch.from_numpy(drawn > min(1.0, max(0.0, self.similarity)))

    def decoded(
        self, own: torch.Tensor, teachers: torch.Tensor, mask: torch.Tensor, given: torch.Tensor
    ) -> torch.Tensor:
        """What the decoder makes of the student's states and of the teacher's at some positions.

        Args:
            own: the student's ``(rows, tokens, width)``.
            teachers: the teacher's.
            mask: ``(rows, tokens)``, 1 on tokens.
            given: ``(tokens,)`` bool, where the teacher's states stand.
        """
        padding = mask == 0
        encoded = [self.parts["student"](own, padding), self.parts["teacher"](standardised(teachers), padding)]
        hybrid = torch.where(given.to(mask.device)[None, :, None], encoded[1], encoded[0])
        found: torch.Tensor = self.parts["decoder"](hybrid, padding)
        return found

    def _note(self, own: torch.Tensor, teachers: torch.Tensor, mask: torch.Tensor, places: list[int]) -> None:
        there = mask[..., None].to(own)
        means = [(s.detach() * there).sum(dim=1) / there.sum(dim=1) for s in (own, teachers)]
        self._means += zip(places, *(m.cpu() for m in means), strict=True)

    def end_step(self, step: Step) -> dict[str, float] | None:
        """Update the similarity from the rows of all processes."""
        self._waiting += [row[1:] for row in sorted(step.gather(self._means), key=lambda row: row[0])]
        self._means = []
        if len(self._waiting) >= ENOUGH:
            own, teachers = (torch.stack(side) for side in zip(*self._waiting, strict=True))
            self.similarity = MEMORY * self.similarity + (1 - MEMORY) * unbiased_cka(own, teachers)
            self._waiting = []
            self.notes.add("similarity", torch.tensor([self.similarity]))
        return super().end_step(step)

    def state(self) -> dict[str, Any]:
        """Also the similarity, and the rows that wait for it."""
        return {**super().state(), "similarity": self.similarity, "waiting": [list(row) for row in self._waiting]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        super().load_state(state)
        self.similarity = state["similarity"]
        self._waiting = [(own.cpu(), teachers.cpu()) for own, teachers in state["waiting"]]


class _Block(torch.nn.Module):
    """A transformer layer without dropout and biases between two linear maps.

    The bias of attention's keys has no effect, so its gradient is rounding, which Adam makes large.
    """

    def __init__(self, entering: int, width: int, leaving: int) -> None:
        super().__init__()
        self.enter, self.leave = torch.nn.Linear(entering, width), torch.nn.Linear(width, leaving)
        self.layer = torch.nn.TransformerEncoderLayer(
            width, HEADS, 2 * width, dropout=0.0, activation="gelu", batch_first=True, bias=False
        )

    def forward(self, states: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        """States ``(rows, tokens, width)``; ``padding`` is True where there is no token."""
        found: torch.Tensor = self.leave(self.layer(self.enter(states), src_key_padding_mask=padding))
        return found
