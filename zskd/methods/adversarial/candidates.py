"""The adversary without a gradient through the teacher: it ranks several rewritings of a row and learns from the ranks.

It works with a black-box teacher and with a teacher that has another vocabulary than the student, because the teacher
receives text.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.config.methods.adversarial import AdversarialOptions
from zskd.methods.adversarial.losses import imbalance, unsureness
from zskd.methods.adversarial.writer import Inputs, Rewritten, Writer
from zskd.methods.step import Step
from zskd.metrics.divergence import kl_divergence
from zskd.models.soft_tokens import Choice

# One list of texts, or two for pairs, to logits (texts, num_labels) in the task's order.
Judge = Callable[[tuple[list[str], ...]], np.ndarray]


class CandidateAdversary(Writer):
    """Writes each row ``row_candidates`` times; the rewriting with the highest score is kept.

    The score is the divergence minus the weighted terms of the `GradientAdversary` that concern the
    teacher's answer (the imbalance by its slope: what the answer adds to it). The generator learns the candidates'
    ranks: a policy gradient (Williams 1992) whose advantage is a candidate's standardised rank among those of its row.

    Args:
        generator: a masked language model with the student's vocabulary.
        tokenizer: the student's, in whose ids the generator writes.
        judge: the teacher: one list of texts, or two for pairs, to logits ``(texts, num_labels)``. Every candidate is
            asked for, the discarded ones too.
        options: None for the defaults.
        temperature: of the divergence.
        precision: see `zskd.methods.adversarial.writer.Writer`.

    Raises:
        InputError: the generator cannot be used.
        ValueError: options are beyond their limits or contradict each other.

    Source of the policy gradient: Williams (1992), "Simple statistical gradient-following algorithms for connectionist
    reinforcement learning".

    Example:
        `generator` is a masked language model, `tokenizer` the student's.

        >>> import numpy as np
        >>> def judge(texts):
        ...     return np.array([[float("fine" in text), 0.0] for text in texts[0]])
        >>> options = AdversarialOptions(row_candidates=3)
        >>> CandidateAdversary(generator, tokenizer, judge, options).queries_per_row()
        3
    """

    def __init__(
        self,
        generator: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        judge: Judge,
        options: AdversarialOptions | None = None,
        *,
        temperature: float = 1.0,
        precision: str = "fp32",
    ) -> None:
        super().__init__(generator, tokenizer, options, temperature=temperature, precision=precision)
        self.judge = judge

    def queries_per_row(self) -> int:
        """All candidates."""
        return self.options.row_candidates

    def rewrite(
        self,
        student: PreTrainedModel,
        inputs: Inputs,
        step: Step,
        *,
        learn: bool,
        compare: bool = True,
    ) -> Rewritten:
        """See `Writer.rewrite`. The student is always asked: its answers choose among the candidates."""
        student.eval()
        options, count = self.options, self.options.row_candidates
        with torch.set_grad_enabled(learn):
            choices, anchor = self.fill(inputs, step, count)
        written = [{**inputs, "input_ids": choice.write_into(inputs["input_ids"])} for choice in choices]
        device = inputs["input_ids"].device
        with torch.no_grad():
            # All candidates of all rows at once, (candidates * rows).
            everything = [self.texts(each) for each in written]
            texts = tuple([t for part in side for t in part] for side in zip(*everything, strict=True))
            teacher_logits = torch.from_numpy(np.asarray(self.judge(texts), dtype=np.float32)).to(device)
            with step.autocast():
                student_logits = torch.cat([student(**each).logits.float() for each in written])
            divergence = kl_divergence(teacher_logits, student_logits, self.temperature)
            unsure = unsureness(teacher_logits)
            p = teacher_logits.softmax(dim=-1)
            mean = step.mean(p.mean(dim=0))
            slope = (p * mean.clamp(min=1e-9).log()).sum(dim=-1)
            score = divergence - options.confidence_weight * unsure - options.balance_weight * slope
            score = score.view(count, -1)
            best = score.argmax(dim=0)
            kept = best * score.shape[1] + torch.arange(score.shape[1], device=device)
        loss = None
        terms = {"divergence": divergence, "anchor": anchor, "unsureness": unsure, "imbalance": imbalance(mean)}
        if learn:
            loss = self._loss(choices, score, anchor, step, terms)
        ids = torch.stack([each["input_ids"] for each in written])[best, torch.arange(len(best), device=device)]
        return Rewritten(
            inputs={**inputs, "input_ids": ids},
            teacher_logits=teacher_logits[kept],
            student_logits=student_logits[kept],
            divergence=divergence[kept],
            written=(choices[0].rows, choices[0].columns),
            loss=loss,
            terms={name: value.detach().mean() for name, value in terms.items()},
            queries=score.numel(),
        )

    def _loss(
        self,
        choices: list[Choice],
        score: torch.Tensor,
        anchor: torch.Tensor,
        step: Step,
        terms: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        ranks = score.argsort(dim=0).argsort(dim=0).float()
        advantage = (ranks - ranks.mean(dim=0)) / ranks.std(dim=0).clamp(min=1e-6)
        loss = self.options.anchor_weight * anchor
        for choice, weight in zip(choices, advantage, strict=True):
            assert choice.log_probabilities is not None
            taken = choice.log_probabilities.gather(1, choice.index[:, None])[:, 0]
            loss = loss - weight * torch.zeros_like(anchor).index_add(0, choice.rows, taken) / len(choices)
        total = loss.sum() / step.divisor
        if self.options.diversity_weight and len(choices[0].rows):
            terms["repetition"] = self.spread(choices[0], step)
            total = total + self.options.diversity_weight * terms["repetition"]
        return total

    def texts(self, inputs: Inputs) -> tuple[list[str], ...]:
        """The one or two texts of each row, as another tokenizer can read them."""
        separator = self.tokenizer.sep_token_id
        around = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}
        sides: tuple[list[str], ...] = ([], []) if self._pairs(inputs) else ([],)
        for ids, length in zip(inputs["input_ids"].tolist(), inputs["attention_mask"].sum(1).tolist(), strict=True):
            parts: list[list[int]] = [[]]
            for token in ids[:length]:
                if token == separator and parts[-1]:
                    parts.append([])
                elif token not in around:
                    parts[-1].append(token)
            parts += [[]] * len(sides)
            for side, part in zip(sides, parts, strict=False):
                side.append(str(self.tokenizer.decode(part)))
        return sides

    def _pairs(self, inputs: Inputs) -> bool:
        """Whether rows hold two texts: more separators than one text has around it."""
        alone = self.tokenizer("a")["input_ids"].count(self.tokenizer.sep_token_id)
        return int((inputs["input_ids"][0] == self.tokenizer.sep_token_id).sum()) > alone
