"""A random teacher with decided opinions, and text for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from conftest import tiny_bert, word_tokenizer
from labelled_rows import prose

from zskd.models.loading import count_parameters
from zskd.teacher.classifier import Classifier

TEXTS = prose(64)
LABELS = ("a", "b", "c")


def decided_teacher() -> Classifier:
    """A random teacher with decided opinions on every class, whose columns are not in the task's order."""
    tokenizer = word_tokenizer(TEXTS)
    model = tiny_bert(len(tokenizer), LABELS, seed=1)
    with torch.no_grad():
        for name, weight in model.bert.named_parameters():
            if weight.dim() == 2 and "position" not in name:
                weight.mul_(6)
        # Spread and centred on these texts, so that no class is everybody's.
        batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
        model.classifier.weight.mul_(2 / model(**batch).logits.std(dim=0).mean())
        model.classifier.bias.sub_(model(**batch).logits.mean(dim=0))
    return Classifier("teacher", model, tokenizer, (2, 0, 1), count_parameters(model), "t", "t")


class Judge:
    """A teacher known by its answers; keeps what it was asked."""

    def __init__(self, teacher: Classifier) -> None:
        self.teacher, self.asked = teacher, []

    def __call__(self, texts: tuple[list[str], ...]) -> np.ndarray:
        self.asked.append(texts)
        batch: Any = self.teacher.tokenizer(
            *texts, padding=True, return_tensors="pt", return_token_type_ids=len(texts) == 2
        )
        with torch.no_grad():
            return self.teacher.model(**batch).logits[:, list(self.teacher.order)].numpy()
