"""Arguments of `ZeroShotTrainer`: those of `transformers.TrainingArguments` and the method's own."""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers import TrainingArguments


@dataclass
class ZeroShotArguments(TrainingArguments):
    """`transformers.TrainingArguments` with defaults that fit distillation, and the temperature.

    Attributes:
        temperature: temperature T of the distillation loss; the loss is scaled by T squared.
    """

    temperature: float = field(default=1.0, metadata={"help": "temperature of the distillation loss"})

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature: expected a value above 0, found {self.temperature}")
        # Teacher logits are the target. They travel beside the inputs and not as `labels`: Trainer would count
        # every logit as an example, and a BERT head would guess a multi-label problem.
        self.label_names = ["teacher_logits"]
        self.remove_unused_columns = False
        super().__post_init__()
