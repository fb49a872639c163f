"""What every adversary does: mask some places of a row and let the generator write something else there."""

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
from zskd.methods.step import Step
from zskd.models.frozen import use_short_attention
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
        student_logits: the same of the student in evaluation mode; None where it was not asked.
        divergence: ``(rows,)`` float32, KL(teacher ‖ student), without gradient; None likewise.
        written: ``(rows, columns)`` of the places the generator filled, two int64 tensors.
        loss: what the generator minimises, None where it does not learn.
        terms: mean of every term of the loss, unweighted, scalars on the models' device.
        queries: texts the teacher was asked for.
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
    """A generator and how it fills masked places: a share ``mask_rate`` of the ordinary tokens of a text.

    Of a pair one text is masked, and a share drawn evenly between 0 and ``mask_rate`` of it: the teacher's answer hangs
    on what the texts have in common, and with as many words changed on both sides little of that would be left.

    A token is the likeliest one after Gumbel noise, among the generator's ``token_candidates`` likeliest. Everything
    random is a function of the run's seed, the optimizer step and the row's place in the whole batch.

    Args:
        generator: masked language model; trained, but for its word embeddings.
        tokenizer: whose ids the generator reads and writes.
        options: None for the defaults.
        temperature: of the divergence.
        precision: the teacher's. With ``bf16`` the generator computes in bfloat16, with any other in float32
            (`zskd.system.precision.gradient_precision`).

    Raises:
        InputError: the generator cannot be used.
        ValueError: options beyond their limits, or that contradict each other.
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
        """Move what computes."""
        self.generator.to(device)
        if self.precision in HALVES and device.type == "cpu":  # in float32 a row's bits should not depend on its batch
            use_short_attention(self.generator)
        self.special, self.usable = self.special.to(device), self.usable.to(device)

    def trainable(self) -> list[torch.nn.Parameter]:
        """The generator's weights that are trained."""
        return [weight for weight in self.generator.parameters() if weight.requires_grad]

    def make_optimizer(self) -> torch.optim.Optimizer:
        """An optimizer for them."""
        return torch.optim.AdamW(
            self.trainable(), lr=self.options.generator_learning_rate, weight_decay=0.0, fused=True
        )

    def step(self, optimizer: torch.optim.Optimizer, gradients: list[torch.Tensor | None]) -> torch.Tensor:
        """One step with clipped gradients, None for a weight without one; returns their norm before clipping."""
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
        """Texts the teacher is asked for to rewrite one row."""
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
        """Rewrite rows, and with ``learn`` say what the generator is to minimise.

        Args:
            student: not wrapped; set to evaluation mode here.
            inputs: ``input_ids``, ``attention_mask``, for pairs ``token_type_ids``, ``(rows, tokens)``.
            step: of these rows alone (`Step.at`), with their progress through the adversarial part of the run.
            compare: whether the divergence is wanted; without it the student is asked only where the rows or the
                loss depend on it.
        """
        raise NotImplementedError

    def fill(self, inputs: Inputs, step: Step, draws: int = 1) -> tuple[list[Choice], torch.Tensor]:
        """Mask places and choose tokens for them, ``draws`` times the same places.

        Returns:
            The choices, and each row's masked-LM loss of its original tokens, ``(rows,)``.
        """
        ids, device = inputs["input_ids"], inputs["input_ids"].device
        rngs = [step.rng(place, Stream.WRITER) for place in step.places]
        ordinary = (inputs["attention_mask"].bool() & ~torch.isin(ids, self.special)).cpu().numpy()
        # How many separators stand before a place: the same for all of one text.
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
            noisy = scores + _gumbel(rngs, counts, candidates)
            soft = (noisy / softness).softmax(dim=-1)
            choices.append(Choice(rows, columns, candidates, soft, noisy.argmax(dim=-1), scores.log_softmax(dim=-1)))
        return choices, anchor

    def spread(self, choice: Choice, step: Step) -> torch.Tensor:
        """`repetition` of the tokens of a batch, over all processes; a scalar."""
        tokens = torch.zeros(self.generator.config.vocab_size, device=choice.rows.device).index_add(
            0, choice.candidates.reshape(-1), choice.probabilities.reshape(-1)
        )
        return repetition(step.mean(tokens / max(1, len(choice.rows))), len(choice.rows))


def _draw_places(ordinary: np.ndarray, sides: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """A share of the ordinary places ``(tokens,)`` bool, at least one of them where there is any, in order.

    Args:
        sides: ``(tokens,)`` int, equal within a text.
    """
    places = np.flatnonzero(ordinary)
    texts = np.unique(sides[places])
    if len(texts) > 1:
        places = places[sides[places] == rng.choice(texts)]
        rate *= rng.random()
    count = min(len(places), max(1, round(rate * len(places))))
    return np.sort(rng.choice(places, size=count, replace=False))


def _gumbel(rngs: list[np.random.Generator], counts: list[int], tokens: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise of some tokens in each place, ``(places, tokens)`` float32.

    It belongs to the token. If it belonged to the rank, two logits that rounding makes change ranks would change their
    noise too, and rows would be written otherwise in a whole batch than in parts of it. So it is a hash of the place's
    random number and the token's id, that of SplitMix64 (Steele et al. 2014); nothing is drawn for other tokens.

    Args:
        rngs: one per row of the batch.
        counts: places of each row; one row's places stand together.
        tokens: ``(places, tokens)`` int64.
    """
    lowest, highest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    drawn = [rng.integers(lowest, highest, size=count) for rng, count in zip(rngs, counts, strict=True)]
    bits = torch.from_numpy(np.concatenate(drawn)).to(tokens.device)[:, None] + tokens * _signed(0x9E3779B97F4A7C15)
    bits = (bits ^ _shifted(bits, 30)) * _signed(0xBF58476D1CE4E5B9)
    bits = (bits ^ _shifted(bits, 27)) * _signed(0x94D049BB133111EB)
    bits = bits ^ _shifted(bits, 31)
    uniform = (_shifted(bits, 41).float() + 0.5) / 2**23  # as many bits as keep it below 1 in float32
    return -(-uniform.log()).log()


def _signed(word: int) -> int:
    """The same 64 bits, of which the first is set, as a signed number; products wrap alike."""
    return word - 2**64


def _shifted(bits: torch.Tensor, by: int) -> torch.Tensor:
    """Bits shifted to the right, zeros from the left; PyTorch's own shift of int64 repeats the sign."""
    return (bits >> by) & (2 ** (64 - by) - 1)
