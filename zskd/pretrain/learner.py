"""The model that is trained: a student's body, and a linear map from its states to the backbone's."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModel, ElectraModel, PreTrainedConfig, PreTrainedModel

from zskd.student.word_features import match_tokens

EMPTY = 2  # leading columns of the table that a task fills: a task of three classes has two dimensions of response


class StateLearner(torch.nn.Module):
    """Learns the backbone's last hidden state of every token, each of its dimensions standardised.

    The loss of a row is the mean squared error over its tokens and dimensions, that of a batch the mean over its rows,
    so that a batch may be split by rows. The map is dropped after training.

    Args:
        body: the start.
        mean, deviation: of the backbone's states, ``(hidden,)`` float32, see `moments`.

    Example:
        >>> import torch
        >>> from transformers import BertConfig, BertModel
        >>> shape = dict(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8, vocab_size=20)
        >>> learner = StateLearner(BertModel(BertConfig(**shape)), torch.zeros(12), torch.ones(12))
        >>> ids = torch.tensor([[2, 7, 3]])
        >>> learner(torch.zeros(1, 3, 12), input_ids=ids, attention_mask=torch.ones_like(ids)).shape
        torch.Size([])
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, body: PreTrainedModel, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        super().__init__()
        self.body = body
        self.outputs = torch.nn.Linear(body.config.hidden_size, len(mean))
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, states: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """The loss, a scalar.

        Args:
            states: of the backbone, ``(batch, tokens, hidden)``.
            inputs: token ids, mask and segments, each ``(batch, tokens)``.
        """
        found = self.outputs(self.body(**inputs).last_hidden_state)
        error = (found - (states - self.mean) / self.deviation).square().mean(dim=-1)
        mask = inputs["attention_mask"]
        loss: torch.Tensor = ((error * mask).sum(dim=1) / mask.sum(dim=1)).mean()
        return loss


def moments(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation, ``(hidden,)`` each, of states ``(tokens, hidden)``.

    No deviation is less than half of their median: a few dimensions hardly vary, and would dominate the error.
    """
    deviation, mean = torch.std_mean(states, dim=0)
    return mean, deviation.clamp(min=0.5 * float(deviation.median()))


def make_body(config: PreTrainedConfig, components: torch.Tensor) -> PreTrainedModel:
    """A start before its training; its layers are drawn from the global generator.

    Args:
        components: of the backbone's states of single tokens, ``(vocab, columns)``. They become the columns of the
            table after the `EMPTY` first ones, which are zero.
    """
    body: PreTrainedModel = AutoModel.from_config(config, trust_remote_code=False)
    with torch.no_grad():
        table = body.get_input_embeddings().weight
        table[:, :EMPTY] = 0
        table[: len(components), EMPTY : EMPTY + components.shape[1]] = components
    if isinstance(body, ElectraModel):
        match_tokens(body)
    return body.eval()
