"""The log of a round: means over its steps, and a few rows before and after rewriting."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, defaultdict
from typing import Any

import torch
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.methods.adversarial.writer import Inputs, Rewritten
from zskd.system.processes import gather

EXAMPLES = 3  # rewritten rows that are kept per round


class Rounds:
    """Collects values during a round and returns their means at its end.

    Attributes:
        values: name -> values of the round so far. Scalar tensors stay on their device until the round ends, because
            fetching one waits for the device.
        examples: texts before and after rewriting, with both models' probabilities.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.values: dict[str, list[float | torch.Tensor]] = defaultdict(list)
        self.examples: list[dict[str, Any]] = []

    def note(self, name: str, value: float | torch.Tensor) -> None:
        """Record one value."""
        self.values[name].append(value)

    def note_rewritten(self, written: Rewritten, old: Inputs) -> None:
        """Record a rewriting: terms of the loss, changed and distinct tokens, the teacher's classes."""
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
        """Return the means over the round's steps and over processes, and begin the next round."""
        count = max(1, len(self.values["changed"]))
        report = {
            name: sum(map(float, values)) / (count if name.startswith("class_") else max(1, len(values)))
            for name, values in self.values.items()
        }
        # Averaged over processes, so that a callback that reads the log decides the same in all of them. With few rows
        # a process may have had none of a kind.
        reports = gather(report)
        self.values.clear()
        names = dict.fromkeys(name for part in reports for name in part)
        return {name: statistics.fmean(part[name] for part in reports if name in part) for name in names}

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
        """The values of the current round as plain numbers."""
        return {name: [float(value) for value in values] for name, values in self.values.items()}

    def load(self, values: dict[str, list[float]], examples: list[dict[str, Any]]) -> None:
        """Restore values and examples from a checkpoint."""
        self.values = defaultdict(list, {name: list(of_name) for name, of_name in values.items()})
        self.examples = examples
