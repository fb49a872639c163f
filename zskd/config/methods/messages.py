"""Options of messages (see `zskd.methods.messages`), their checks, and their cost in queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zskd.config import limits
from zskd.config.methods.shares import asked_rows
from zskd.config.methods.spec import MethodSpec
from zskd.config.option import option

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig


@dataclass
class MessagesOptions:
    """Options of `zskd.Messages`; neutral at ``messages_share=0``, or where all three weights are 0.

    Example:
        >>> MessagesOptions(messages_rounds=2).messages_width
        128
    """

    messages_share: float = option(
        0.125, "share of a batch for which student and teacher exchange messages", low=0.0, high=1.0
    )
    messages_rounds: int = option(
        1, "exchanges, each of which begins at a higher layer of the student; 0: none", low=0, high=100
    )
    messages_width: int = option(128, "numbers in the message of a token", low=1, high=4_096)
    messages_reply_weight: float = option(
        0.1, "weight of what the teacher makes of a message, and of its reply to the student", low=0.0,
        high=limits.HEAVIEST,
    )  # fmt: skip
    messages_agreement_weight: float = option(
        0.1, "weight of the difference between both models' messages for one input", low=0.0, high=limits.HEAVIEST
    )
    messages_state_weight: float = option(
        0.1, "weight of what is lost of a state in its message", low=0.0, high=limits.HEAVIEST
    )


def is_on(options: MessagesOptions) -> bool:
    """Whether any term has a weight."""
    reply = options.messages_reply_weight if options.messages_rounds else 0.0
    return bool(
        options.messages_share and (reply or options.messages_agreement_weight or options.messages_state_weight)
    )


def exchanges(options: MessagesOptions) -> int:
    """Exchanges that have a weight."""
    return options.messages_rounds if options.messages_reply_weight else 0


def queries(config: DistillConfig) -> int:
    """Once for a row's own states, and once more in each exchange."""
    return (1 + exchanges(config)) * asked_rows(config, config.messages_share) if is_on(config) else 0


SPEC = MethodSpec(
    name="messages",
    summary="both models exchange messages around the teacher's upper layers (Talking Models, Zhao et al. 2023)",
    options=MessagesOptions,
    queries=queries,
    share="messages_share",
    changes=is_on,
    needs=("weights", "vocabulary"),
)
