"""Teachers with a planted defect, on which the thresholds of `zskd diagnose` were set and are tested.

A small network learns to tell clusters apart; the defect is planted by how it is trained, never in its output. Each
defect has three severities, 0 being the mildest. Thresholds were set on the seeds below 20; tests use others.

    python -m recipes.planted            ranges of the deciding signals over the seeds below 20, per defect
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

INPUTS = 16
DISTANCE = 2.5  # of the class centres from the origin, in standard deviations of the inputs
ROWS = 1_000
DEFECTS = {
    "label-smoothed": (0.1, 0.2, 0.3),  # share of the target that is smoothed
    "over-confident": (300, 600, 1_200),  # steps of training to no doubt at all
    "constant": (0.97, 0.99, 1.0),  # share of the labels that are the first class
    "merged-classes": (0.4, 0.45, 0.5),  # how often the first two classes are taken for each other
}
SEVERITIES = range(3)


@dataclass(frozen=True)
class Planted:
    """A teacher's logits on transfer rows, its class cosines, and logits and labels of rows like its training rows."""

    logits: np.ndarray
    cosines: np.ndarray
    labelled: tuple[np.ndarray, np.ndarray]


def _centres(num_labels: int, generator: torch.Generator) -> torch.Tensor:
    """Class centres ``(num_labels, INPUTS)``; neighbours in the list of classes lie nearer to each other."""
    own = functional.normalize(torch.randn(num_labels, INPUTS, generator=generator), dim=-1)
    return DISTANCE * functional.normalize(own + 0.5 * own.roll(1, dims=0), dim=-1)


def plant(defect: str | None, severity: int, seed: int, num_labels: int = 5) -> Planted:
    """Train one teacher.

    Args:
        defect: one of `DEFECTS`, or None for a sound teacher.
        severity: 0 to 2; of no matter for a sound one.
    """
    strength = DEFECTS[defect][severity] if defect else 0.0
    generator = torch.Generator().manual_seed(1_000 * seed + num_labels)
    centres = _centres(num_labels, generator)

    def draw(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.randint(num_labels, (rows,), generator=generator)
        return centres[labels] + torch.randn(rows, INPUTS, generator=generator), labels

    inputs, labels = draw(ROWS)
    chance = torch.rand(ROWS, generator=generator)
    if defect == "constant":
        labels = torch.where(chance < strength, 0, labels)
    elif defect == "merged-classes":
        labels = torch.where((labels < 2) & (chance < strength), 1 - labels, labels)
    torch.manual_seed(seed)
    output = torch.nn.Linear(64, num_labels)
    net = torch.nn.Sequential(torch.nn.Linear(INPUTS, 64), torch.nn.ReLU(), output)
    sure = defect == "over-confident"
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-2 if sure else 1e-2, weight_decay=0.0 if sure else 0.1)
    smoothing = float(strength) if defect == "label-smoothed" else 0.0
    for _ in range(int(strength) if sure else 100):
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), labels, label_smoothing=smoothing).backward()
        optimizer.step()
    known, expected = draw(400)
    with torch.no_grad():
        # Text of another kind lies between the classes.
        share = torch.rand(2_000, 1, generator=generator)
        between = share * draw(2_000)[0] + (1 - share) * draw(2_000)[0]
        logits, seen = net(between).numpy(), net(known).numpy()
        rows = functional.normalize(output.weight, dim=-1)
        return Planted(logits, (rows @ rows.T).numpy(), (seen, expected.numpy()))


def main() -> None:
    """Print the ranges that thresholds have to lie between."""
    from zskd.diagnosis.signals import measure

    print(f"{'':24}" + "".join(f"{name:>18}" for name in ("information", "sure", "margin", "flatness", "separation")))
    for num_labels in (3, 5):
        for defect, severity in [(None, 0), *((d, s) for d in DEFECTS for s in SEVERITIES)]:
            rows = []
            for seed in range(4):
                found = measure(plant(defect, severity, seed, num_labels).logits)
                instance = found["instance"]
                numbers = [found["information"], instance["sure"], instance["margin"]["p95"]]
                rows.append([*numbers, found["domain"]["flatness"], found["separation"][0]["separation"] or 0.0])
            spans = "".join(f"{low:>10.3f}-{high:<7.3f}" for low, high in zip(*_range(rows), strict=True))
            print(f"{num_labels} {defect or 'sound':20}{severity} {spans}", flush=True)


def _range(rows: list[list[float]]) -> tuple[list[float], list[float]]:
    values = np.array(rows)
    return values.min(axis=0).tolist(), values.max(axis=0).tolist()


if __name__ == "__main__":
    main()
