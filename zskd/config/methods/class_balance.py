"""Options of the class balance of the transfer set (see `zskd.methods.class_balance`)."""

from __future__ import annotations

from dataclasses import dataclass

from zskd.config.methods.spec import MethodSpec
from zskd.config.option import option


@dataclass
class ClassBalanceOptions:
    """Options of `zskd.ClassBalance`; neutral at 1.

    Example:
        >>> ClassBalanceOptions(max_class_share=0.8)
        ClassBalanceOptions(max_class_share=0.8)
    """

    max_class_share: float = option(
        0.5,
        "if the teacher predicts a class for more than this share of the transfer set, repeat inputs of the others; 1 "
        "repeats none",
        low=0.01,
        high=1.0,
    )


SPEC = MethodSpec(
    name="class-balance",
    summary="inputs of classes that the teacher rarely predicts are repeated",
    options=ClassBalanceOptions,
    asked_for=lambda config: config.max_class_share < 1.0,
)
