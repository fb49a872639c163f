"""One batch, a student and a live teacher, for the hooks of a method without a trainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from conftest import tiny_bert
from decided import LABELS, TEXTS, decided_teacher

from zskd.methods.context import Batch, Run
from zskd.methods.method import Method
from zskd.methods.step import Step
from zskd.teacher.classifier import Classifier
from zskd.teacher.live import LiveTeacher

ROWS = 16


class Scene:
    """A step of a run of 20 steps.

    Attributes:
        batch: 16 rows with the teacher's logits.
        step: with the student (in training mode, without dropout) and the live teacher.
    """

    def __init__(self, number: int = 0, total: int = 20, seed: int = 0) -> None:
        self.teacher: Classifier = decided_teacher()
        self.student: Any = tiny_bert(len(self.teacher.tokenizer), LABELS, hidden=16, seed=2)
        for part in self.student.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        self.student.train()
        live = LiveTeacher(self.teacher)
        encoded = self.teacher.tokenizer(TEXTS[:ROWS], padding=True, return_tensors="pt")
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        self.batch: Batch = {"input_ids": ids, "attention_mask": mask}
        self.batch["teacher_logits"] = live.forward(ids=ids, mask=mask).logits
        live.queries = 0
        self.step = Step(
            number, total, seed, np.arange(ROWS), size=ROWS, whole=ROWS, progress=number / total, student=self.student,
            teacher=live,
        )  # fmt: skip

    @property
    def live(self) -> LiveTeacher:
        assert self.step.teacher is not None
        return self.step.teacher

    def prepared(self, method: Method) -> Method:
        """The method with its modules, as a trainer makes it."""
        torch.manual_seed(0)
        tokenizer = self.teacher.tokenizer
        method.prepare(Run(seed=0, student=self.student, tokenizer=tokenizer, teacher=self.teacher))
        method.modules()
        return method

    def moved(self, batch: Batch) -> torch.Tensor:
        """Word embeddings of the student with a batch's offset."""
        own: torch.Tensor = self.student.get_input_embeddings()(batch["input_ids"]).detach()
        return own + batch["offset"] if "offset" in batch else own

    def students(self, embeds: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The student's logits for word embeddings."""
        with torch.no_grad():
            found: torch.Tensor = self.student(inputs_embeds=embeds, attention_mask=batch["attention_mask"]).logits
        return found
