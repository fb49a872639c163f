"""Rows that teacher and student are surest of, the teacher's classifier for the student, and a contrast of two views.

Source: after KD^3, "Distribution shift matters for knowledge distillation with webly collected images", Tang et al.
(ICCV 2023), arXiv 2307.11469.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from zskd.config.methods.selection import SelectionOptions
from zskd.errors import InputError
from zskd.methods.context import Batch, Run, StudentOutput
from zskd.methods.method import MICRO, ROWS, Method
from zskd.methods.notes import Notes
from zskd.methods.step import Step
from zskd.metrics.scores import probabilities
from zskd.models.features import features
from zskd.models.loading import count_parameters
from zskd.models.output_layer import output_layer
from zskd.teacher.classifier import Classifier
from zskd.transfer.transfer_set import TransferSet


class Selection(Method):
    """Chooses the rows of each epoch, shares the teacher's classifier, and contrasts rows with themselves.

    With z_T and z_S the logits of teacher and student, f the student's feature before its output layer, W and b the
    teacher's frozen output layer, and P a linear map that is trained:

    - *selection*: before each epoch but the first, of the rows of each class ŷ of the teacher, the share
      ``selection_keep`` with the largest max softmax((z_T + z_S) / 2) stays. The number of updates does not change.
    - *classifier*: z_S = W (P f) + b, in training and in evaluation. At the end W P and b become the student's own
      output layer, so that it is a stock model.
    - *contrast*: ``selection_contrast`` · InfoNCE of f(h) and f(h'), with the other rows of the batch as negatives and
      the temperature ``selection_contrast_temperature``. h are a row's last states, and h' the same with mean and
      standard deviation over its tokens mixed half and half with those of another row.

    No public code was found. The rule of the selection, its quotas and the form of the contrast are choices made here;
    the paper's weighted alignment of features is left to the shared classifier.

    *Needs* a teacher with weights and a linear output layer, for the classifier. *Costs* no query; before an epoch one
    forward pass of the student over all rows. *Coupling*: a whole batch with a contrast, else rows. *Neutral*:
    ``selection_keep=1``, ``selection_classifier="own"`` and ``selection_contrast=0``. In a trainer that is used alone,
    which has no transfer set, nothing is selected.

    Args:
        options: None for the defaults.

    Example:
        >>> from zskd.config.methods.selection import SelectionOptions
        >>> from zskd.methods.selection import Selection
        >>> Selection(SelectionOptions(selection_contrast=0.0)).coupling
        'rows'
    """

    name = "selection"
    wants_states = True

    def __init__(self, options: SelectionOptions | None = None) -> None:
        self.options = options or SelectionOptions()
        self.notes = Notes(self.name)
        self.texts: tuple[list[str], ...] | None = None
        self.projector: torch.nn.Linear | None = None

    @property
    def coupling(self) -> str | int:
        """The contrast compares all rows of a batch."""
        return MICRO if self.options.selection_contrast else ROWS

    def transfer_set(self, rows: TransferSet) -> TransferSet:
        """Keep what the teacher said of the rows; nothing is left out yet."""
        if self.options.selection_keep < 1.0:
            found = rows.dataset()
            self.texts = tuple(list(found[name]) for name in ("text", "text_b") if name in found.column_names)
            self.answers = rows.logits[rows.rows]
        return rows

    def prepare(self, run: Run) -> None:
        """Take the teacher's output layer.

        Raises:
            InputError: it has none, or the student has none.
        """
        self.tokenizer, self.length = run.tokenizer, run.max_length
        if self.options.selection_classifier == "own":
            return
        if run.teacher is None:
            raise ValueError(f"{self.name}: expected a teacher with weights (ZeroShotTrainer(teacher=...)), found none")
        teacher = run.teacher.require_weights(f"--method {self.name}")
        layer, own = output_layer(teacher.model), output_layer(run.student)
        if layer is None or own is None or own.bias is None:
            shown = "--teacher" if layer is None else "--student"
            raise InputError(
                f"{shown}: expected a linear output layer with a bias for --method {self.name}, found none; use "
                "--selection-classifier own"
            )
        order = list(teacher.order)
        bias = torch.zeros(len(order)) if layer.bias is None else layer.bias.detach().float().cpu()[order]
        self.shared = layer.weight.detach().float().cpu()[order], bias
        self.widths = own.in_features, layer.in_features

    def modules(self) -> dict[str, torch.nn.Module]:
        """The projector."""
        if self.options.selection_classifier == "own":
            return {}
        self.projector = torch.nn.Linear(*self.widths)
        return {"projector": self.projector}

    def epoch(self, number: int, student: PreTrainedModel) -> np.ndarray | None:
        """The rows of an epoch that both models are surest of, class by class; all in the first one."""
        if self.texts is None or number == 0:
            return None
        # Rounded, so that the last bits, which depend on how batches are split, do not choose between two rows.
        joint = probabilities((self.answers + self._students(student)) / 2).max(axis=1).round(4)
        return surest(joint, probabilities(self.answers).argmax(axis=1), self.options.selection_keep)

    def _students(self, student: PreTrainedModel) -> np.ndarray:
        """The student's logits for all rows, with the classifier that it has at the moment."""
        assert self.texts is not None and self.tokenizer is not None
        merged = copy.deepcopy(student)
        self.finish(merged)
        order = tuple(range(merged.config.num_labels))
        model = Classifier("student", merged, self.tokenizer, order, count_parameters(merged), "", "")
        return model.own_logits(model.prepare(self.texts, self.length), "fp32")

    def logits(self, output: StudentOutput, step: Step) -> torch.Tensor:
        """The teacher's classifier behind the projector."""
        if self.projector is None:
            return output.logits
        assert output.states is not None and output.mask is not None and step.student is not None
        weight, bias = (part.to(output.logits.device) for part in self.shared)
        feature = features(step.student, output.states[-1], output.mask).float()
        return self.projector(feature) @ weight.T + bias

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        """The contrast."""
        if not self.options.selection_contrast or len(batch["input_ids"]) < 2:
            return None
        assert output.states is not None and output.mask is not None and step.student is not None
        last, mask = output.states[-1].float(), output.mask
        order = step.rng(int(step.places[0]), use="partners").permutation(len(last))
        other = mixed_statistics(last, mask, torch.from_numpy(order).to(last.device))
        one, two = (features(step.student, states, mask).float() for states in (last, other))
        found = info_nce(one, two, self.options.selection_contrast_temperature)
        self.notes.add("contrast", found)
        return self.options.selection_contrast * found.mean()

    def end_step(self, step: Step) -> dict[str, float] | None:
        """Returns the notes where they are due."""
        return self.notes.close(step)

    def finish(self, student: PreTrainedModel) -> None:
        """Merge projector and classifier into the student's output layer."""
        if self.projector is None:
            return
        layer, (weight, bias) = output_layer(student), self.shared
        assert layer is not None
        with torch.no_grad():
            weight, bias = weight.to(layer.weight), bias.to(layer.weight)
            layer.weight.copy_(weight @ self.projector.weight)
            layer.bias.copy_(weight @ self.projector.bias + bias)

    def state(self) -> dict[str, Any]:
        """The notes."""
        return {"notes": self.notes.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.notes.load_state(state["notes"])


def surest(confidence: np.ndarray, classes: np.ndarray, keep: float) -> np.ndarray:
    """Indices, ascending, of the share `keep` of each class's rows with the largest confidence, at least one of each.

    Args:
        confidence: ``(rows,)``.
        classes: ``(rows,)`` int.

    Example:
        >>> surest(np.array([0.9, 0.5, 0.6, 0.8]), np.array([0, 0, 1, 1]), 0.5).tolist()
        [0, 3]
    """
    chosen = []
    for index in np.unique(classes):
        own = np.flatnonzero(classes == index)
        best = np.argsort(-confidence[own], kind="stable")[: max(1, round(keep * len(own)))]
        chosen.append(own[best])
    found: np.ndarray = np.sort(np.concatenate(chosen))
    return found


def mixed_statistics(states: torch.Tensor, mask: torch.Tensor, partner: torch.Tensor) -> torch.Tensor:
    """States whose mean and standard deviation over a row's tokens are half another row's.

    Args:
        states: ``(rows, tokens, width)``.
        mask: ``(rows, tokens)``, 1 on tokens.
        partner: ``(rows,)``, the other row.
    """
    there = mask[..., None].to(states)
    count = there.sum(dim=1, keepdim=True)
    mean = (states * there).sum(dim=1, keepdim=True) / count
    spread = (((states - mean).square() * there).sum(dim=1, keepdim=True) / count + 1e-6).sqrt()
    wanted = [(part + part[partner]).detach() / 2 for part in (mean, spread)]
    return (states - mean) / spread * wanted[1] + wanted[0]


def info_nce(one: torch.Tensor, other: torch.Tensor, temperature: float) -> torch.Tensor:
    """InfoNCE ``(rows,)`` of two views ``(rows, width)``: a row's other view among those of all rows, by cosine."""
    left, right = (torch.nn.functional.normalize(view, dim=1) for view in (one, other))
    alike = left @ right.T / temperature
    return torch.nn.functional.cross_entropy(alike, torch.arange(len(one), device=one.device), reduction="none")
