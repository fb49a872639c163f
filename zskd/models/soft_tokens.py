"""Soft tokens: a classifier reads tokens that a generator chose, with a gradient to the choice.

A chosen token is a one-hot row times an embedding table, whose value is the table's row. The forward pass therefore
looks the row up, in float32 and outside autocast. The backward pass is that of the product (straight-through, Jang et
al. 2017). Other positions are ordinary look-ups. No tensor of size ``(batch, tokens, vocabulary)`` is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Choice:
    """Tokens chosen at some positions of a batch of token ids.

    Attributes:
        rows: ``(chosen,)`` int64, rows of the chosen tokens.
        columns: ``(chosen,)`` int64, their columns.
        candidates: ``(chosen, candidates)`` int64, the token ids that could be chosen there.
        probabilities: ``(chosen, candidates)`` float32, differentiable; sums to 1.
        index: ``(chosen,)`` int64, the chosen candidate.
        log_probabilities: ``(chosen, candidates)`` float32, of the distribution that the choice was drawn from; used by
            a policy gradient.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    candidates: torch.Tensor
    probabilities: torch.Tensor
    index: torch.Tensor
    log_probabilities: torch.Tensor | None = None

    @property
    def tokens(self) -> torch.Tensor:
        """``(chosen,)`` int64: the ids of the chosen tokens."""
        return self.candidates.gather(1, self.index[:, None])[:, 0]

    def write_into(self, ids: torch.Tensor) -> torch.Tensor:
        """A copy of ``ids`` ``(batch, tokens)`` with the chosen tokens in their places."""
        return ids.index_put((self.rows, self.columns), self.tokens)


class _StraightThrough(torch.autograd.Function):
    """Rows of a table for chosen tokens; the gradient is that of probabilities times the candidates' rows."""

    @staticmethod
    def forward(ctx: Any, probabilities: torch.Tensor, choice: Choice, table: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(choice.candidates, table)
        return table[choice.tokens].float()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        candidates, table = ctx.saved_tensors
        (gradient,) = gradients
        with torch.autocast(gradient.device.type, enabled=False):
            if candidates.stride(0) == 0:  # one list of candidates, expanded to every position
                product = gradient.float() @ table[candidates[0]].float().T
            else:
                product = torch.bmm(table[candidates].float(), gradient.float().unsqueeze(2)).squeeze(2)
        return product, None, None


def soft_lookup(choice: Choice, table: torch.Tensor) -> torch.Tensor:
    """Embeddings ``(chosen, width)`` float32 of the chosen tokens, equal to ``table[choice.tokens]`` bit for bit.

    The gradient of ``choice.probabilities`` is that of ``probabilities @ table[candidates]``. The table gets none.

    Args:
        table: ``(vocabulary, width)``.
    """
    embeddings: torch.Tensor = _StraightThrough.apply(choice.probabilities, choice, table.detach())
    return embeddings


def forward_choice(model: PreTrainedModel, inputs: dict[str, torch.Tensor], choice: Choice) -> torch.Tensor:
    """Logits ``(batch, num_labels)`` of a classifier that reads chosen tokens.

    The model's embedding layer adds positions and segments and normalises, as for token ids. Padding must be on the
    right.

    Args:
        inputs: ``input_ids`` and ``attention_mask``, for pairs ``token_type_ids``, ``(batch, tokens)``. The ids at the
            chosen positions are ignored.
    """
    table = model.get_input_embeddings().weight
    chosen = soft_lookup(choice, table)
    with torch.no_grad():
        embeddings = table[inputs["input_ids"]].float()
    embeddings = embeddings.index_put((choice.rows, choice.columns), chosen)
    others = {name: value for name, value in inputs.items() if name != "input_ids"}
    logits: torch.Tensor = model(inputs_embeds=embeddings, **others).logits
    return logits
