"""Many small networks trained at once: one batched product in place of a loop over runs."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class StackedMLP(torch.nn.Module):
    """Networks of one hidden layer and the same shape, which share nothing.

    Args:
        models: their number; network i is initialised from ``seeds[i]``, so networks of one seed start alike.
    """

    def __init__(self, seeds: list[int], inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        parts = [_layers(seed, inputs, hidden, outputs) for seed in seeds]
        first, second = (torch.stack(layers) for layers in zip(*parts, strict=True))
        self.first, self.second = torch.nn.Parameter(first), torch.nn.Parameter(second)
        self.first_bias = torch.nn.Parameter(torch.zeros(len(seeds), 1, hidden))
        self.second_bias = torch.nn.Parameter(torch.zeros(len(seeds), 1, outputs))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits ``(models, rows, outputs)`` of inputs ``(models, rows, inputs)``."""
        hidden = torch.relu(torch.baddbmm(self.first_bias, inputs, self.first))
        return torch.baddbmm(self.second_bias, hidden, self.second)

    def output_weights(self) -> torch.Tensor:
        """Rows of the output layers ``(models, outputs, hidden)``."""
        return self.second.detach().transpose(1, 2)


def _layers(seed: int, inputs: int, hidden: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(inputs, hidden, generator=generator) * math.sqrt(2 / inputs)
    return first, torch.randn(hidden, outputs, generator=generator) * math.sqrt(1 / hidden)


def train(
    net: StackedMLP, inputs: torch.Tensor, loss: Loss, *, steps: int, batch: int, rate: float, decay: float, seed: int
) -> None:
    """Train all networks with AdamW and a falling rate; all see the same rows of their data in the same order.

    Args:
        inputs: ``(models, rows, inputs)``.
        loss: of logits ``(models, batch, outputs)`` and row indices ``(batch,)``: one value per network.
    """
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    rows = inputs.shape[1]
    for _ in range(steps):
        chosen = torch.randint(rows, (min(batch, rows),), generator=generator)
        optimizer.zero_grad()
        loss(net(inputs[:, chosen]), chosen).sum().backward()  # the networks share no weight: a sum trains each alone
        optimizer.step()
        schedule.step()
