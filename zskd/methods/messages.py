"""Messages between student and teacher: what the student's lower layers say, and what the teacher's upper ones reply.

Source: "Talking models: distill pre-trained knowledge to downstream models via interactive communication", Zhao et al.
(2023), arXiv 2310.03188.
"""

from __future__ import annotations

import torch

from zskd.config.methods.messages import MessagesOptions, exchanges, is_on
from zskd.errors import InputError
from zskd.methods.context import Batch, Run, StudentOutput
from zskd.methods.layer_pairs import layer_pairs, standardised, token_error
from zskd.methods.live_rows import LiveRows, part_of
from zskd.methods.step import Step
from zskd.models import entry


class Messages(LiveRows):
    """Each model has an encoder of its states into messages, and a decoder of messages into its states.

    For a share of every batch, with the student's states s_l and the teacher's t_g of each token, L their last layers,
    four linear maps Enc_S, Dec_S, Enc_T, Dec_T, and sg, which stops the gradient. In exchange n = 1 ... N the student
    speaks from its layer l = n and the teacher listens at its layer g that is as far up:

        r = the teacher's layers above g, begun with Dec_T(Enc_S(s_l))      (frozen; the gradient passes through)
        reply     = |r - sg t_L|² + |s_L - sg Dec_S(Enc_T(r))|²             (mean over exchanges)
        agreement = |Enc_S(s_L) - Enc_T(sg t_L)|²
        state     = |Dec_S(Enc_S(sg s_L)) - sg s_L|² + |Dec_T(Enc_T(t_L)) - t_L|²

    |a - b|² is the mean over rows, tokens and dimensions. It is relative to the variance of a token's b where b is a
    state, and between states of unit variance for the reply that the student learns. The terms are added with the
    weights ``messages_reply_weight``, ``messages_agreement_weight`` and ``messages_state_weight``. Rows without an
    exchange count 0. Without the state term, messages that are always the same would agree perfectly.

    No public code was found. Which layers speak, the form of the terms, and that every exchange begins at another layer
    are choices of this toolkit. The maps are dropped afterwards.

    *Needs* a teacher with weights and one vocabulary, and a student with more layers than exchanges. *Costs*,
    for each such row, one forward pass of the teacher, and in each exchange a forward and a backward pass of the
    layers above g. *Coupling*: rows. *Neutral*: ``messages_share=0``, or all weights 0.

    Args:
        options: None for the defaults.

    Example:
        >>> from zskd.config.methods.messages import MessagesOptions
        >>> from zskd.methods.messages import Messages
        >>> Messages(MessagesOptions(messages_share=0.25)).row_share
        0.25
    """

    name = "messages"
    wants_states = True

    def __init__(self, options: MessagesOptions | None = None) -> None:
        super().__init__()
        self.options = options or MessagesOptions()
        self._held: tuple[torch.Tensor, Batch, torch.Tensor] | None = None  # rows, what they are, the teacher's states

    @property
    def row_share(self) -> float:
        """``messages_share``, or 0 where all weights are 0."""
        return self.options.messages_share if is_on(self.options) else 0.0

    def prepare(self, run: Run) -> None:
        """Pair the layers.

        Raises:
            InputError: as `LiveRows.prepare`, or the student has fewer layers than there are exchanges.
        """
        teacher = self.teacher_of(run)
        own, others = (entry.count_layers(model) for model in (run.student, teacher.model))
        if exchanges(self.options) >= own:
            raise InputError(
                f"--messages-rounds {self.options.messages_rounds}: expected fewer than the student's {own} layers; "
                "lower it"
            )
        self.layers = layer_pairs(own, others)[: exchanges(self.options)]
        self.widths = run.student.config.hidden_size, teacher.model.config.hidden_size

    def modules(self) -> dict[str, torch.nn.Module]:
        """The four maps."""
        if not self.row_share:
            return {}
        width, (own, others) = self.options.messages_width, self.widths
        self.maps = torch.nn.ModuleDict({
            "student_encoder": torch.nn.Linear(own, width),
            "student_decoder": torch.nn.Linear(width, own),
            "teacher_encoder": torch.nn.Linear(others, width),
            "teacher_decoder": torch.nn.Linear(width, others),
        })  # fmt: skip
        return {"maps": self.maps}

    def batch(self, batch: Batch, step: Step) -> Batch:
        """Ask for the teacher's states of this step's rows; nothing in the batch changes."""
        found = self.last_states(batch, step)
        self._held = None if found is None else (found[0], part_of(batch, found[0]), found[1])
        return batch

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        """The three terms with their weights."""
        if self._held is None:
            return None
        rows, part, last = self._held
        assert output.states is not None
        states = [state[rows].float() for state in output.states]
        options, mask = self.options, part["attention_mask"]
        terms = {"agreement": (options.messages_agreement_weight, self.agreement(states[-1], last, mask))}
        terms["state"] = options.messages_state_weight, self.lost(states[-1], last, mask)
        if self.layers:
            replies = [self.reply(states, last, part, step, own, others) for own, others in self.layers]
            terms["reply"] = options.messages_reply_weight, torch.stack(replies).mean(dim=0)
        for name, (_, error) in terms.items():
            self.notes.add(name, error)
        weighted = torch.stack([weight * error for weight, error in terms.values()])
        return weighted.sum() / len(batch["input_ids"])

    def reply(
        self, states: list[torch.Tensor], last: torch.Tensor, part: Batch, step: Step, own: int, others: int
    ) -> torch.Tensor:
        """The error ``(rows,)`` of an exchange.

        Args:
            states: of all of the student's layers.
            last: the teacher's last states.
            own: layer of the student that speaks.
            others: layer of the teacher that listens.
        """
        mask = part["attention_mask"]
        heard = self.maps["teacher_decoder"](self.maps["student_encoder"](states[own]))
        answer = self.ask(step, part, states=heard, layer=others, grad=True, want_states=True)
        assert answer.states is not None
        made = answer.states[-1]
        told = self.maps["student_decoder"](self.maps["teacher_encoder"](made.detach()))
        return relative_error(made, last, mask) + token_error(_unit(states[-1]), standardised(told), mask)

    def agreement(self, own: torch.Tensor, last: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """How far both models' messages for a row are apart, ``(rows,)``."""
        return token_error(self.maps["student_encoder"](own), self.maps["teacher_encoder"](last), mask)

    def lost(self, own: torch.Tensor, last: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What is lost of both models' last states in their messages, ``(rows,)``."""
        found = []
        for name, states in (("student", own.detach()), ("teacher", last)):
            again = self.maps[f"{name}_decoder"](self.maps[f"{name}_encoder"](states))
            found.append(relative_error(again, states, mask))
        return found[0] + found[1]


def relative_error(found: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`token_error` relative to the variance of each token's target, which has no gradient."""
    target = target.detach()
    scale = target.var(dim=2, unbiased=False, keepdim=True).clamp_min(1e-6).sqrt()
    return token_error(found / scale, target / scale, mask)


def _unit(states: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.layer_norm(states, states.shape[-1:])
