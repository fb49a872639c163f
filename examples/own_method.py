"""A method of your own: token dropout. The student sees an input with some tokens masked, the teacher saw all of it.

python examples/own_method.py my-classifier my-small-model my-text.txt
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

import zskd


class TokenDropout(zskd.Method):
    """Replaces a share of a row's tokens with the mask token, anew in every step."""

    name = "token-dropout"

    def __init__(self, tokenizer: Any, share: float = 0.1) -> None:
        self.mask, self.share = tokenizer.mask_token_id, share
        self.special = torch.tensor(tokenizer.all_special_ids)

    def batch(self, batch: dict[str, torch.Tensor], step: zskd.Step) -> dict[str, torch.Tensor]:
        """Called before the student reads a micro-batch.

        What is drawn for a row depends on its place in the whole batch alone, so splitting a batch over accumulation
        steps and processes changes nothing, and a resumed run draws the same.
        """
        ids = batch["input_ids"]
        drawn = np.stack([step.rng(place).random(ids.shape[1]) for place in step.places])
        hidden = torch.from_numpy(drawn < self.share).to(ids.device) & ~torch.isin(ids, self.special.to(ids.device))
        return {**batch, "input_ids": ids.masked_fill(hidden, self.mask)}


def main(teacher_name: str, student_name: str, text: str, steps: int = 200) -> zskd.ZeroShotTrainer:
    """Train a student that shares the teacher's tokenizer, with the method beside the ordinary objective."""
    teacher = zskd.load_teacher(zskd.TASKS["sst2"], teacher_name)
    texts = Path(text).read_text(encoding="utf-8").splitlines()
    trainer = zskd.ZeroShotTrainer(
        AutoModelForSequenceClassification.from_pretrained(student_name, num_labels=2),
        zskd.ZeroShotArguments("runs/token-dropout", max_steps=steps, learning_rate=1e-3),
        methods=[TokenDropout(teacher.tokenizer)],
        train_dataset=zskd.transfer_rows(teacher, (texts,), max_length=64),
        processing_class=teacher.tokenizer,
    )
    trainer.train()
    trainer.save_model("my-student")
    return trainer


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
