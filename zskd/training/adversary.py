"""The adversary: a generator rewrites rows so that teacher and student disagree, and learns from both networks.

Source: Rashid et al. (2021), "Towards Zero-Shot Knowledge Distillation for NLP". The divergence is the true
KL(teacher ‖ student); a soft cross-entropy would also reward the generator for making the teacher unsure.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedModel

from zskd.losses import imbalance, kl_divergence, repetition, unsureness
from zskd.models.classifier import Classifier
from zskd.models.generator import check_generator, masked_logits, usable_tokens
from zskd.models.soft_tokens import Choice, forward_choice
from zskd.training.arguments import ZeroShotArguments

STREAM = 4  # first word of every random generator's seed

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Place:
    """Which rows of which step are rewritten; everything random about them is a function of it.

    Attributes:
        step: optimizer step.
        rows: places in the step's whole batch, over accumulation steps and processes.
        seed: the run's.
        progress: how much of phase 2 is over, 0 to 1.
    """

    step: int
    rows: np.ndarray
    seed: int
    progress: float = 0.0

    def generators(self) -> list[np.random.Generator]:
        """One random generator per row."""
        return [np.random.default_rng([STREAM, self.seed, self.step, int(row)]) for row in self.rows]


@dataclass(frozen=True)
class Rewritten:
    """Rows with other tokens in some places, labelled by the teacher.

    Attributes:
        inputs: ``input_ids``, ``attention_mask``, for pairs ``token_type_ids``, ``(rows, tokens)``.
        teacher_logits: ``(rows, num_labels)`` float32, in the task's order, without gradient.
        student_logits: the same of the student in evaluation mode.
        divergence: ``(rows,)`` float32, KL(teacher ‖ student), without gradient.
        written: ``(rows, columns)`` of the places the generator filled, two int64 tensors.
        loss: what the generator minimises, None where it does not learn.
        terms: mean of every term of the loss, unweighted.
        queries: texts the teacher was asked for.
    """

    inputs: Inputs
    teacher_logits: torch.Tensor
    student_logits: torch.Tensor
    divergence: torch.Tensor
    written: tuple[torch.Tensor, torch.Tensor]
    loss: torch.Tensor | None
    terms: dict[str, float]
    queries: int


@dataclass
class Scope:
    """How one process and one micro-batch relate to the whole batch.

    Attributes:
        divisor: rows that the generator rewrites in the whole batch, divided by micro-batches and processes: a sum
            over this micro-batch's rows divided by it is the micro-batch's share of the mean over all.
        mean: the mean of a tensor over processes. Its gradient is that of this process's own part.
        autocast: what the student computes in.
    """

    divisor: float
    mean: Callable[[torch.Tensor], torch.Tensor] = field(default=lambda tensor: tensor)
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext


class GradientAdversary:
    """Writes with a generator that shares one vocabulary with teacher and student, and learns through both.

    The generator fills masked places: a share ``mask_rate`` of a row's ordinary tokens, of either text of a pair. The
    tokens are Gumbel-softmax samples, straight-through (see `zskd.models.soft_tokens`). Its loss is

        - divergence + anchor_weight * masked-LM loss of the original tokens
        + confidence_weight * unsureness of the teacher + balance_weight * imbalance of its mean prediction
        + diversity_weight * repetition of tokens

    The last two concern the whole batch: over processes they use the mean of all of them, over accumulated
    micro-batches each its own, so that accumulation makes them stricter.

    Args:
        generator: masked language model; trained.
        teacher: its weights are frozen here.
        precision: ``fp32``, or ``bf16`` for autocast in generator and teacher.

    Raises:
        InputError: the generator cannot be used.
    """

    def __init__(
        self, generator: PreTrainedModel, teacher: Classifier, arguments: ZeroShotArguments, precision: str = "fp32"
    ) -> None:
        check_generator(generator, teacher.tokenizer, shown="the generator")
        self.generator = generator.requires_grad_(True).eval()
        # The table is shared with the output layer; training it would double a step's cost.
        self.generator.get_input_embeddings().weight.requires_grad_(False)
        self.tokenizer = teacher.tokenizer
        self.arguments = arguments
        self.bf16 = precision == "bf16"
        self.teacher = teacher.model.requires_grad_(False).eval()
        self.order = torch.tensor(teacher.order)
        self.special = torch.tensor(sorted(teacher.tokenizer.all_special_ids))
        self.usable = usable_tokens(teacher.tokenizer, generator.config.vocab_size)

    def to(self, device: torch.device) -> None:
        """Move both models."""
        self.generator.to(device)
        self.teacher.to(device)
        self.order, self.special, self.usable = (t.to(device) for t in (self.order, self.special, self.usable))

    def queries_per_row(self) -> int:
        """Texts the teacher is asked for to rewrite one row."""
        return 1

    def rewrite(
        self, student: PreTrainedModel, inputs: Inputs, place: Place, scope: Scope, *, learn: bool
    ) -> Rewritten:
        """Rewrite rows; with ``learn``, also the generator's loss, whose gradient reaches it through both networks.

        Args:
            student: not wrapped; set to evaluation mode here.
            inputs: ``input_ids``, ``attention_mask``, for pairs ``token_type_ids``, ``(rows, tokens)``.
        """
        student.eval()
        device = inputs["input_ids"].device.type
        with torch.set_grad_enabled(learn):
            with torch.autocast(device, torch.bfloat16, enabled=self.bf16):
                choice, anchor = self.fill(inputs, place)
                teacher_logits = forward_choice(self.teacher, inputs, choice).float()[:, self.order]
            with scope.autocast():
                student_logits = forward_choice(student, inputs, choice).float()
            divergence = kl_divergence(teacher_logits, student_logits, self.arguments.temperature)
            loss, terms = self._loss(teacher_logits, divergence, choice, anchor, scope)
        return Rewritten(
            inputs={**inputs, "input_ids": choice.write_into(inputs["input_ids"])},
            teacher_logits=teacher_logits.detach(),
            student_logits=student_logits.detach(),
            divergence=divergence.detach(),
            written=(choice.rows, choice.columns),
            loss=loss if learn else None,
            terms=terms,
            queries=len(divergence),
        )

    def fill(self, inputs: Inputs, place: Place) -> tuple[Choice, torch.Tensor]:
        """Mask places and choose tokens for them.

        Returns:
            The choice, and each row's masked-LM loss of its original tokens, ``(rows,)``.
        """
        ids, device = inputs["input_ids"], inputs["input_ids"].device
        rngs = place.generators()
        ordinary = (inputs["attention_mask"].bool() & ~torch.isin(ids, self.special)).cpu().numpy()
        places = [_draw_places(row, self.arguments.mask_rate, rng) for row, rng in zip(ordinary, rngs, strict=True)]
        rows = torch.tensor(np.repeat(np.arange(len(places)), [len(p) for p in places]), device=device)
        columns = torch.tensor(np.concatenate(places), device=device)
        masked = ids.index_put((rows, columns), torch.tensor(self.tokenizer.mask_token_id, device=device))
        logits = masked_logits(self.generator, {**inputs, "input_ids": masked}, rows, columns)
        missed = functional.cross_entropy(logits, ids[rows, columns], reduction="none")
        counts = torch.bincount(rows, minlength=len(ids))
        anchor = torch.zeros(len(ids), device=device).index_add(0, rows, missed) / counts.clamp(min=1)
        logits = logits[:, : len(self.usable)].masked_fill(~self.usable, float("-inf"))
        width = self.arguments.token_candidates or logits.shape[1]
        if width < logits.shape[1]:
            scores, candidates = logits.topk(width)
        else:
            scores, candidates = logits, torch.arange(logits.shape[1], device=device).expand(len(logits), -1)
        noise = np.concatenate([_gumbel(rng, (len(p), scores.shape[1])) for rng, p in zip(rngs, places, strict=True)])
        scores = scores / self.arguments.sampling_temperature + torch.from_numpy(noise).to(device)
        start, end = self.arguments.gumbel_start, self.arguments.gumbel_end
        probabilities = (scores / (start + (end - start) * place.progress)).softmax(dim=-1)
        return Choice(rows, columns, candidates, probabilities, scores.argmax(dim=-1)), anchor

    def _loss(
        self,
        teacher_logits: torch.Tensor,
        divergence: torch.Tensor,
        choice: Choice,
        anchor: torch.Tensor,
        scope: Scope,
    ) -> tuple[torch.Tensor, dict[str, float]]:
        options = self.arguments
        unsure = unsureness(teacher_logits)
        per_row = options.anchor_weight * anchor + options.confidence_weight * unsure - divergence
        loss = per_row.sum() / scope.divisor
        even = imbalance(scope.mean(teacher_logits.softmax(dim=-1).mean(dim=0)))
        terms = {"divergence": divergence, "anchor": anchor, "unsureness": unsure, "imbalance": even}
        if options.balance_weight:
            loss = loss + options.balance_weight * even
        if options.diversity_weight and len(choice.rows):
            size = self.generator.config.vocab_size
            tokens = torch.zeros(size, device=loss.device).index_add(
                0, choice.candidates.reshape(-1), choice.probabilities.reshape(-1)
            )
            repeated = repetition(scope.mean(tokens / len(choice.rows)), len(choice.rows))
            loss = loss + options.diversity_weight * repeated
            terms["repetition"] = repeated
        return loss, {name: float(value.detach().mean()) for name, value in terms.items()}


def _draw_places(ordinary: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """A share of the ordinary places ``(tokens,)`` bool, at least one of them where there is any, in order."""
    places = np.flatnonzero(ordinary)
    count = min(len(places), max(1, round(rate * len(places))))
    return np.sort(rng.choice(places, size=count, replace=False))


def _gumbel(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Standard Gumbel noise, float32."""
    uniform = rng.random(shape, dtype=np.float32)
    smallest = np.finfo(np.float32).tiny
    noise: np.ndarray = -np.log(np.maximum(-np.log(np.maximum(uniform, smallest)), smallest))
    return noise
