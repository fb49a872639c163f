"""The adversary that learns through both networks.

Source: Rashid et al. (2021), "Towards Zero-Shot Knowledge Distillation for NLP". The divergence is the true
KL(teacher ‖ student); a soft cross-entropy would also reward the generator for making the teacher unsure.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from zskd.config.methods.adversarial import AdversarialOptions
from zskd.methods.adversarial.losses import imbalance, unsureness
from zskd.methods.adversarial.writer import Inputs, Rewritten, Writer
from zskd.methods.step import Step
from zskd.metrics.divergence import kl_divergence
from zskd.models.fast_layers import make_fast
from zskd.models.frozen import with_half_weights
from zskd.models.segments import gives_segments
from zskd.models.soft_tokens import Choice, forward_choice
from zskd.system.precision import HALVES, autocast
from zskd.teacher.base import Teacher


class GradientAdversary(Writer):
    """Writes with a generator that shares one vocabulary with teacher and student, and learns through both.

    A choice of tokens is straight-through (see `zskd.models.soft_tokens`), so that the gradient of

        - divergence + anchor_weight * masked-LM loss of the original tokens
        + confidence_weight * unsureness of the teacher + balance_weight * imbalance of its mean prediction
        + diversity_weight * repetition of tokens

    reaches the generator. The last two concern the whole batch: over processes they use the mean of all of them, over
    accumulated micro-batches each its own, so that accumulation makes them stricter.

    Args:
        generator: a masked language model with the teacher's vocabulary, such as `build_generator` makes.
        teacher: one with weights; they are frozen here.
        options: None for the defaults.
        temperature: of the divergence.
        precision: in which the teacher answers; here it computes as the generator does (see `Writer`).

    Raises:
        InputError: the generator cannot be used, or the teacher has no weights.
        ValueError: options are beyond their limits or contradict each other.

    Source: Rashid et al. (2021), "Towards Zero-Shot Knowledge Distillation for NLP".

    Example:
        `teacher` is a loaded teacher with weights.

        >>> import zskd
        >>> options = zskd.AdversarialOptions(mask_rate=0.2)
        >>> writer = zskd.GradientAdversary(zskd.build_generator(teacher), teacher, options)
        >>> writer.queries_per_row()
        1
    """

    def __init__(
        self,
        generator: PreTrainedModel,
        teacher: Teacher,
        options: AdversarialOptions | None = None,
        *,
        temperature: float = 1.0,
        precision: str = "fp32",
    ) -> None:
        classifier = teacher.require_weights("GradientAdversary")
        super().__init__(generator, classifier.tokenizer, options, temperature=temperature, precision=precision)
        frozen = classifier.model.requires_grad_(False).eval()
        half = HALVES.get(self.precision)
        self.teacher = with_half_weights(frozen, half) if half else frozen
        if half:
            make_fast(self.teacher)
        self.in_task_order = classifier.in_task_order
        self._segments = gives_segments(classifier.tokenizer)

    def to(self, device: torch.device) -> None:
        """Move both models."""
        super().to(device)
        self.teacher.to(device)

    def queries_per_row(self) -> int:
        """One: the answer labels the row and leads the generator."""
        return 1

    def rewrite(
        self,
        student: PreTrainedModel,
        inputs: Inputs,
        step: Step,
        *,
        learn: bool,
        compare: bool = True,
    ) -> Rewritten:
        """See `Writer.rewrite`."""
        student.eval()
        device = inputs["input_ids"].device.type
        with torch.set_grad_enabled(learn):
            with autocast(device, self.precision):
                (choice,), anchor = self.fill(inputs, step)
                # As when it labels texts: the student's rows may have segments that the teacher was not trained with.
                read = {key: v for key, v in inputs.items() if key != "token_type_ids" or self._segments}
                teacher_logits = self.in_task_order(forward_choice(self.teacher, read, choice).float())
            student_logits = divergence = None
            if compare or learn:
                with step.autocast():
                    student_logits = forward_choice(student, inputs, choice).float()
                divergence = kl_divergence(teacher_logits, student_logits, self.temperature)
            loss, terms = self._loss(teacher_logits, divergence, choice, anchor, step)
        return Rewritten(
            inputs={**inputs, "input_ids": choice.write_into(inputs["input_ids"])},
            teacher_logits=teacher_logits.detach(),
            student_logits=None if student_logits is None else student_logits.detach(),
            divergence=None if divergence is None else divergence.detach(),
            written=(choice.rows, choice.columns),
            loss=loss if learn else None,
            terms=terms,
            queries=len(teacher_logits),
        )

    def _loss(
        self,
        teacher_logits: torch.Tensor,
        divergence: torch.Tensor | None,
        choice: Choice,
        anchor: torch.Tensor,
        step: Step,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        options = self.options
        unsure = unsureness(teacher_logits)
        per_row = options.anchor_weight * anchor + options.confidence_weight * unsure
        even = imbalance(step.mean(teacher_logits.softmax(dim=-1).mean(dim=0)))
        terms = {"anchor": anchor, "unsureness": unsure, "imbalance": even}
        if divergence is not None:
            per_row = per_row - divergence
            terms["divergence"] = divergence
        loss = per_row.sum() / step.divisor
        if options.balance_weight:
            loss = loss + options.balance_weight * even
        if options.diversity_weight and len(choice.rows):
            repeated = self.spread(choice, step)
            loss = loss + options.diversity_weight * repeated
            terms["repetition"] = repeated
        return loss, {name: value.detach().mean() for name, value in terms.items()}
