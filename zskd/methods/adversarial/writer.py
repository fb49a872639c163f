"""The part both adversaries share: mask some places of a row and let the generator write other tokens there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.config.limits import limit_problems
from zskd.config.methods.adversarial import AdversarialOptions, problems
from zskd.methods.adversarial.generator import check_generator, masked_logits, usable_tokens
from zskd.methods.adversarial.losses import repetition
from zskd.methods.adversarial.noise import gumbel_noise
from zskd.methods.step import Step
from zskd.models.fast_layers import make_fast
from zskd.models.soft_tokens import Choice
from zskd.system.precision import HALVES, autocast, gradient_precision
from zskd.system.seeds import Stream

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Rewritten:
    """Rows with other tokens in some places, labelled by the teacher.

    Attributes:
        inputs: ``input_ids``, ``attention_mask``, for pairs ``token_type_ids``, ``(rows, tokens)``.
        teacher_logits: ``(rows, num_labels)`` float32, in the task's order, without gradient.
        student_logits: the student's in evaluation mode, same shape; None if the student was not asked.
        divergence: ``(rows,)`` float32, KL(teacher ‖ student), without gradient; None if the student was not asked.
        written: ``(rows, columns)`` of the places the generator filled, two int64 tensors.
        loss: what the generator minimises; None if it does not learn in this step.
        terms: mean of every term of the loss, unweighted, scalars on the models' device.
        queries: number of texts that the teacher was asked for.
    """

    inputs: Inputs
    teacher_logits: torch.Tensor
    student_logits: torch.Tensor | None
    divergence: torch.Tensor | None
    written: tuple[torch.Tensor, torch.Tensor]
    loss: torch.Tensor | None
    terms: dict[str, torch.Tensor]
    queries: int


class Writer:
    """Base class of both adversaries: masks a share ``mask_rate`` of a text's ordinary tokens and fills the places.

    In a pair, only one of the two texts is masked, and the share is drawn uniformly between 0 and ``mask_rate``. The
    teacher's answer depends on what the two texts have in common; masking both would leave little of that.

    A token is sampled with Gumbel noise from the generator's ``token_candidates`` most probable tokens. All random
    numbers are functions of the run's seed, the optimizer step and the row's place in the whole batch.

    Args:
        generator: masked language model. All of its weights are trained except the word embeddings.
        tokenizer: tokenizer of the generator.
        options: None for the defaults.
        temperature: temperature of the divergence.
        precision: precision of the teacher. With ``bf16`` the generator computes in bfloat16, otherwise in float32
            (`zskd.system.precision.gradient_precision`).

    Raises:
        InputError: the generator cannot be used.
        ValueError: options are beyond their limits or contradict each other.
    """

    def __init__(
        self,
        generator: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        options: AdversarialOptions | None = None,
        *,
        temperature: float = 1.0,
        precision: str = "fp32",
    ) -> None:
        options = options or AdversarialOptions()
        if wrong := limit_problems(options) + problems(options):
            raise ValueError("; ".join(wrong))
        check_generator(generator, tokenizer, shown="the generator")
        self.generator = generator.requires_grad_(True).eval()
        self.precision = gradient_precision(precision)
        # The table is shared with the output layer; training it would double a step's cost.
        self.generator.get_input_embeddings().weight.requires_grad_(False)
        self.tokenizer = tokenizer
        self.options, self.temperature = options, temperature
        self.special = torch.tensor(sorted(tokenizer.all_special_ids))
        self.usable = usable_tokens(tokenizer, generator.config.vocab_size)

    def to(self, device: torch.device) -> None:
        """Move the generator to a device."""
        self.generator.to(device)
        if self.precision in HALVES:  # in float32 a row's bits should not depend on its batch
            make_fast(self.generator)
        self.special, self.usable = self.special.to(device), self.usable.to(device)

    def trainable(self) -> list[torch.nn.Parameter]:
        """The generator's trainable weights."""
        return [weight for weight in self.generator.parameters() if weight.requires_grad]

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW for the trainable weights."""
        return torch.optim.AdamW(
            self.trainable(), lr=self.options.generator_learning_rate, weight_decay=0.0, fused=True
        )

    def step(self, optimizer: torch.optim.Optimizer, gradients: list[torch.Tensor | None]) -> torch.Tensor:
        """Take one optimizer step with clipped gradients.

        Args:
            gradients: one for each of `trainable`; None for a weight without a gradient.

        Returns:
            The norm of all gradients before clipping, a scalar.
        """
        used = []
        for weight, gradient in zip(self.trainable(), gradients, strict=True):
            weight.grad = gradient
            if gradient is not None:
                used.append(weight)
        norm = torch.nn.utils.clip_grad_norm_(used, self.options.generator_clip)
        optimizer.step()
        optimizer.zero_grad()
        return norm

    def queries_per_row(self) -> int:
        """Number of texts that the teacher is asked for to rewrite one row."""
        raise NotImplementedError

    def rewrite(
        self,
        student: PreTrainedModel,
        inputs: Inputs,
        step: Step,
        *,
        learn: bool,
        compare: bool = True,
    ) -> Rewritten:
        """Rewrite rows and, with ``learn``, compute the generator's loss.

        Args:
            student: not wrapped; set to evaluation mode here.
            inputs: ``input_ids``, ``attention_mask``, for pairs ``token_type_ids``, ``(rows, tokens)``.
            step: the step restricted to these rows (`Step.at`), with the progress through the adversarial part.
            compare: whether the divergence is needed. If not, the student is asked only if the rows or the loss depend
                on its answer.
        """
        raise NotImplementedError

    def fill(self, inputs: Inputs, step: Step, draws: int = 1) -> tuple[list[Choice], torch.Tensor]:
        """Mask places and choose tokens for them, ``draws`` times for the same places.

        Returns:
            The choices, and each row's masked-LM loss of its original tokens, ``(rows,)``.
        """
        ids, device = inputs["input_ids"], inputs["input_ids"].device
        rngs = [step.rng(place, Stream.WRITER) for place in step.places]
        ordinary = (inputs["attention_mask"].bool() & ~torch.isin(ids, self.special)).cpu().numpy()
        # Number of separators before a place, which tells the two texts of a pair apart.
        sides = (ids == self.tokenizer.sep_token_id).cumsum(dim=1).cpu().numpy()
        rate = self.options.mask_rate
        places = [_draw_places(row, side, rate, rng) for row, side, rng in zip(ordinary, sides, rngs, strict=True)]
        counts = [len(of_row) for of_row in places]
        rows = torch.tensor(np.repeat(np.arange(len(places)), counts), device=device)
        columns = torch.tensor(np.concatenate(places), device=device)
        masked = ids.index_put((rows, columns), torch.tensor(self.tokenizer.mask_token_id, device=device))
        with autocast(device.type, self.precision):
            logits = masked_logits(self.generator, {**inputs, "input_ids": masked}, rows, columns)
        missed = functional.cross_entropy(logits, ids[rows, columns], reduction="none")
        sizes = torch.tensor(counts, device=device).clamp(min=1)
        anchor = torch.zeros(len(ids), device=device).index_add(0, rows, missed) / sizes
        logits = logits.masked_fill(~self.usable, float("-inf"))
        width = self.options.token_candidates or logits.shape[1]
        if width < logits.shape[1]:
            scores, candidates = logits.topk(width)
        else:
            scores, candidates = logits, torch.arange(logits.shape[1], device=device).expand(len(logits), -1)
        scores = scores / self.options.sampling_temperature
        start, end = self.options.gumbel_start, self.options.gumbel_end
        softness = start + (end - start) * step.progress
        choices = []
        for _ in range(draws):
            noisy = scores + gumbel_noise(rngs, counts, candidates)
            soft = (noisy / softness).softmax(dim=-1)
            choices.append(Choice(rows, columns, candidates, soft, noisy.argmax(dim=-1), scores.log_softmax(dim=-1)))
        return choices, anchor

    def spread(self, choice: Choice, step: Step) -> torch.Tensor:
        """`repetition` of the tokens in a batch over all processes, a scalar."""
        tokens = torch.zeros(self.generator.config.vocab_size, device=choice.rows.device).index_add(
            0, choice.candidates.reshape(-1), choice.probabilities.reshape(-1)
        )
        return repetition(step.mean(tokens / max(1, len(choice.rows))), len(choice.rows))


def _draw_places(ordinary: np.ndarray, sides: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a share of the ordinary places, at least one if there are any, in ascending order.

    Args:
        ordinary: ``(tokens,)`` bool.
        sides: ``(tokens,)`` int, equal within a text.
    """
    places = np.flatnonzero(ordinary)
    texts = np.unique(sides[places])
    if len(texts) > 1:
        places = places[sides[places] == rng.choice(texts)]
        rate *= rng.random()
    count = min(len(places), max(1, round(rate * len(places))))
    return np.sort(rng.choice(places, size=count, replace=False))
