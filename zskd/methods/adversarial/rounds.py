"""What is seen of a round: means of everything that happened in its steps, and a few sentences before and after."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, defaultdict
from typing import Any

import torch
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.methods.adversarial.writer import Inputs, Rewritten
from zskd.system.processes import gather

EXAMPLES = 3  # rewritten rows that are shown per round


class Rounds:
    """Takes down what happens and closes a round with its means.

    Attributes:
        values: of the round so far, by name: numbers, or scalars that stay where they were computed until the round
            ends, because to fetch one is to wait for it.
        examples: texts before and after, with both models' probabilities.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.values: dict[str, list[float | torch.Tensor]] = defaultdict(list)
        self.examples: list[dict[str, Any]] = []

    def note(self, name: str, value: float | torch.Tensor) -> None:
        """Take down one number."""
        self.values[name].append(value)

    def note_rewritten(self, written: Rewritten, old: Inputs) -> None:
        """Take down what rewriting gave: terms of the loss, changed and distinct tokens, the teacher's classes."""
        for name, value in written.terms.items():
            self.note(name, value)
        changed = written.inputs["input_ids"] != old["input_ids"]
        self.note("changed", float(changed.sum() / old["attention_mask"].sum()))
        tokens = written.inputs["input_ids"][written.written].tolist()
        lengths = old["attention_mask"].sum(dim=1).tolist()
        rows = [ids[:length] for ids, length in zip(written.inputs["input_ids"].tolist(), lengths, strict=True)]
        pairs = [pair for ids in rows for pair in itertools.pairwise(ids)]
        self.note("distinct_1", len(set(tokens)) / max(1, len(tokens)))
        self.note("distinct_2", len(set(pairs)) / max(1, len(pairs)))
        for label, count in Counter(written.teacher_logits.argmax(-1).tolist()).items():
            self.note(f"class_{label}", count / len(changed))
        for label in range(written.teacher_logits.shape[1]):
            self.values.setdefault(f"class_{label}", [])

    def close(self) -> dict[str, float]:
        """The round's means over its steps and over processes; the next one begins."""
        count = max(1, len(self.values["changed"]))
        report = {
            name: sum(map(float, values)) / (count if name.startswith("class_") else max(1, len(values)))
            for name, values in self.values.items()
        }
        # The mean over processes, so that whoever judges the log comes to the same end in all of them.
        reports = gather(report)
        self.values.clear()
        return {name: statistics.fmean(part[name] for part in reports) for name in report}

    def show(self, step: int, old: Inputs, written: Rewritten) -> None:
        """Keep the first rows of a step as examples."""

        def text(ids: torch.Tensor, mask: torch.Tensor) -> str:
            return str(self.tokenizer.decode(ids[mask.bool()].tolist()))

        assert written.student_logits is not None
        for i in range(min(EXAMPLES, len(written.teacher_logits))):
            mask = old["attention_mask"][i]
            self.examples.append(
                {
                    "step": step,
                    "before": text(old["input_ids"][i], mask),
                    "after": text(written.inputs["input_ids"][i], mask),
                    "teacher": [round(p, 4) for p in written.teacher_logits[i].softmax(-1).tolist()],
                    "student": [round(p, 4) for p in written.student_logits[i].softmax(-1).tolist()],
                }
            )

    def so_far(self) -> dict[str, list[float]]:
        """The values of the round that is going on, as plain numbers."""
        return {name: [float(value) for value in values] for name, values in self.values.items()}

    def load(self, values: dict[str, list[float]], examples: list[dict[str, Any]]) -> None:
        """Take over what a checkpoint kept."""
        self.values = defaultdict(list, {name: list(of_name) for name, of_name in values.items()})
        self.examples = examples
