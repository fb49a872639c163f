"""A method that uses every hook, made for the contract test: it mixes and moves rows, adds a second view and a head."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from zskd.methods.context import Batch, Run, StudentOutput
from zskd.methods.method import ROWS, Method
from zskd.methods.step import Step
from zskd.metrics.divergence import entropy
from zskd.metrics.scores import probabilities
from zskd.transfer.transfer_set import TransferSet

MEMORY = 0.9


@dataclass(frozen=True)
class EverythingOptions:
    """Neutral is `NEUTRAL`.

    Attributes:
        weight: of the consistency of the two views; 0: there is no second view.
        mix: the most that a row takes of its partner.
        offset: length of the offset of a row's embeddings.
        shared: whether the logits are those of the teacher's output layer behind a projector.
        choose: whether an epoch has only the half of the rows on which the student is least sure.
    """

    weight: float = 2.0
    mix: float = 0.4
    offset: float = 0.3
    shared: bool = True
    choose: bool = True


NEUTRAL = EverythingOptions(weight=0.0, mix=0.0, offset=0.0, shared=False, choose=False)


class Everything(Method):
    """Asks the live teacher once for every row of every batch."""

    name = "everything"
    wants_states = True
    wants_live_teacher = True

    def __init__(self, options: EverythingOptions | None = None) -> None:
        self.options = options or EverythingOptions()
        self.memory = torch.zeros(())  # how sure the teacher was, over the steps
        self.epochs: list[int] = []  # for which rows were chosen, in this process
        self._queries = self._asked = 0

    @property
    def coupling(self) -> str | int:
        return 2 if self.options.mix else ROWS

    @property
    def learning_rate(self) -> float:
        return 5e-3

    def transfer_set(self, rows: TransferSet) -> TransferSet:
        trust = probabilities(rows.logits).max(axis=1)
        made = replace(rows, columns={**rows.columns, "index": np.arange(len(rows.logits)), "trust": trust})
        self.texts = list(made.dataset()["text"])
        return made

    def prepare(self, run: Run) -> None:
        assert run.teacher is not None and run.tokenizer is not None
        self.head, self.tokenizer = run.teacher.output_weights(), run.tokenizer
        self.width = run.student.config.hidden_size

    def modules(self) -> dict[str, torch.nn.Module]:
        if not self.options.shared:
            return {}
        self.projector = torch.nn.Linear(self.width, self.head.shape[1])
        return {"projector": self.projector}

    def epoch(self, number: int, student: PreTrainedModel) -> np.ndarray | None:
        if not self.options.choose:
            return None
        assert not student.training and not torch.is_grad_enabled()
        self.epochs.append(number)
        batch = self.tokenizer(self.texts, padding=True, truncation=True, max_length=40, return_tensors="pt")
        unsure = entropy(student(**batch).logits)
        # Rounded, so that the last bits, which depend on how batches are split, do not choose between two rows.
        return np.argsort(-unsure.numpy().round(3), kind="stable")[: len(unsure) // 2]

    def whole(self, batches: list[Batch], step: Step) -> None:
        rows = list(itertools.chain(*(batch["index"].tolist() for batch in batches)))
        self._rows = dict(zip(step.places.tolist(), rows, strict=True))
        found = step.gather(list(itertools.chain(*(batch["trust"].tolist() for batch in batches))))
        self._trust = float(np.mean(found))

    def batch(self, batch: Batch, step: Step) -> Batch:
        assert step.student is not None and step.student.training and step.teacher is not None
        assert [self._rows[place] for place in step.places.tolist()] == batch["index"].tolist()
        ids, mask, count = batch["input_ids"], batch["attention_mask"], len(batch["input_ids"])
        options, lengths = self.options, batch["attention_mask"].sum(dim=1).tolist()
        partner = torch.arange(count) ^ 1
        partner = partner.where(partner < count, torch.arange(count))  # an epoch's last batch may be odd
        share = torch.tensor([1 - options.mix * self.draw(step, place, "share") for place in step.places]).float()
        both = mask | (mask[partner] * (share < 1)[:, None])
        embeds = step.teacher.embeddings(ids)
        embeds = share[:, None, None] * embeds + (1 - share)[:, None, None] * embeds[partner]
        embeds.requires_grad_()
        answer = step.teacher.forward(embeds=embeds, mask=both, grad=True)
        self._asked += count
        (slope,) = torch.autograd.grad(entropy(answer.logits).sum(), embeds)
        slope = slope[..., : self.width] * both[..., None]
        made = {
            **batch,
            "attention_mask": both,
            "partner": partner,
            "share": share,
            "offset": options.offset * slope / slope.norm(dim=(1, 2), keepdim=True),
            "noise": torch.tensor([self.draw(step, place, "noise") for place in step.places]).float(),
        }
        if options.mix:
            made["teacher_logits"] = answer.logits.detach()
        if options.weight:
            view = ids.clone()
            for row, (place, length) in enumerate(zip(step.places, lengths, strict=True)):
                masked = step.rng(place, use="view").random(length) < 0.2
                view[row, :length][torch.from_numpy(masked)] = self.tokenizer.mask_token_id
            made |= {"view_input_ids": view, "view_attention_mask": mask}
        return made

    def draw(self, step: Step, place: int, use: str) -> float:
        """A random number for a row, from 0 to 1."""
        return float(step.rng(place, use=use).random())

    def logits(self, output: StudentOutput, step: Step) -> torch.Tensor:
        if not self.options.shared:
            return output.logits
        assert output.states is not None and step.student is not None
        assert self.projector.training == step.training
        pooled = step.student.bert.pooler(output.states[-1])
        return self.projector(pooled) @ self.head.T

    def loss(self, batch: Batch, output: StudentOutput, step: Step) -> torch.Tensor | None:
        if not self.options.weight:
            return None
        assert output.view is not None
        apart = (output.logits - output.view.logits).square().mean(dim=-1)
        weights = batch["noise"] * batch["trust"] / self._trust + self.memory
        return self.options.weight * (weights * apart).mean()

    def end_step(self, step: Step) -> dict[str, float] | None:
        self._queries += sum(step.gather([self._asked]))
        self._asked = 0
        self.memory = MEMORY * self.memory + (1 - MEMORY) * self._trust
        norm = self.projector.weight.grad.norm() if self.options.shared else 0.0
        return {"everything/memory": float(self.memory), "everything/gradient": float(norm)}

    def finish(self, student: PreTrainedModel) -> None:
        if self.options.shared:
            student.classifier.weight.copy_(self.head @ self.projector.weight)
            student.classifier.bias.copy_(self.head @ self.projector.bias)

    def files(self) -> dict[str, Any]:
        return {"everything.json": {"memory": float(self.memory)}}

    def card(self) -> str | None:
        return "with everything that a method can do"

    @property
    def queries(self) -> int:
        return self._queries

    def state(self) -> dict[str, Any]:
        return {"queries": self._queries, "memory": self.memory}

    def load_state(self, state: dict[str, Any]) -> None:
        self._queries, self.memory = state["queries"], state["memory"]
