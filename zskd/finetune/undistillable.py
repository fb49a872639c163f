"""A teacher that keeps its accuracy and spoils its students: its answers contradict those of a usual teacher.

Source: "Undistillable: making a nasty teacher that cannot teach students", Ma et al. (ICLR 2021), arXiv 2105.07381.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset

from zskd.config.verbs import FinetuneConfig
from zskd.metrics.divergence import kl_divergence
from zskd.tasks.defaults import input_length
from zskd.tasks.labelled import Labelled
from zskd.tasks.task import Task
from zskd.teacher.classifier import load_classifier
from zskd.teacher.labelling import label_texts

USUAL = "usual_logits"  # column of the training rows
MOST = 10.0  # nats; the divergence has no upper bound


@dataclass(frozen=True)
class Contradiction:
    """The term that is subtracted from the cross-entropy.

        ω τ² KL(softmax(z / τ) ‖ softmax(z_A / τ))

    z are the logits of the teacher that is trained and z_A those of the usual one, A, which stays as it is. A row's
    divergence counts up to 10 nats.

    Attributes:
        weight: ω.
        temperature: τ.

    Example:
        >>> usual = torch.tensor([[2.0, 0.0, -1.0]])
        >>> term = Contradiction(weight=0.04, temperature=4.0)
        >>> float(term(usual, usual)), bool(term(-usual, usual) > 0)
        (0.0, True)
    """

    weight: float
    temperature: float

    def __call__(self, logits: torch.Tensor, usual: torch.Tensor) -> torch.Tensor:
        """The term, a scalar: the mean over rows.

        Args:
            logits: ``(rows, num_labels)``.
            usual: the same of the usual teacher.
        """
        apart = kl_divergence(logits, usual, self.temperature)
        return self.weight * self.temperature**2 * apart.clamp(max=MOST).mean()


def contradiction(config: FinetuneConfig) -> Contradiction | None:
    """The term that a training asks for; None for none."""
    if config.undistillable is None:
        return None
    return Contradiction(config.undistillable_weight, config.undistillable_temperature)


def usual_logits(config: FinetuneConfig, task: Task, rows: Labelled, cache: Path) -> tuple[list[list[float]], str]:
    """The usual teacher's logits of all rows, from the cache where they are known, and its fingerprint.

    Raises:
        InputError: it cannot be loaded, or has other classes.
    """
    assert config.undistillable is not None
    teacher = load_classifier(task, config.undistillable, cache, flag="--undistillable")
    teacher.check_length(input_length(config), f"--undistillable {config.undistillable}")
    pool = Dataset.from_dict(dict(zip(("text", "text_b"), map(list, rows.texts), strict=False)))
    found = label_texts(
        pool, teacher, cache, max_length=input_length(config), precision="fp32", description="the usual teacher answers"
    )
    return [list(row) for row in found.dataset["teacher_logits"]], teacher.fingerprint
