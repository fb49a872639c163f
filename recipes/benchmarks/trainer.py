"""A step of `ZeroShotTrainer` beside one of a bare PyTorch loop, at the sizes of the embedded default.

Both train the same student on the same batches with the same loss, optimizer, schedule and clipping. The loop has
stock layers and lets PyTorch split its operations over threads; on a CPU the trainer has fast layers and pieces, so
that its overhead may be negative. They take short turns, the first of a pair every other time, because a machine's
speed may drift by more than the overhead: compared are the milliseconds a step of two neighbouring turns, over all
steps after the first tenth. The overhead is the median of these ratios, with their quartiles.

    python -m recipes.benchmarks.trainer [--steps 200] [--batch 64] [--repeats 16]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback, get_linear_schedule_with_warmup

from recipes.benchmarks.common import (
    CLIP,
    DECAY,
    LENGTH,
    RATE,
    WARMUP,
    arguments,
    default_student,
    default_teacher,
    inputs,
    labelled,
    report,
)
from zskd.models.quiet import quiet_transformers
from zskd.student.initial import InitialStudent
from zskd.training.objective import kd_loss
from zskd.training.sampler import LengthGroupedSampler
from zskd.training.trainer import ZeroShotTrainer
from zskd.transfer.collator import TransferCollator
from zskd.transfer.rows import encode


class Clock(TrainerCallback):
    """Takes the time at the end of every step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def with_trainer(start: InitialStudent, rows: Dataset, batch: int, steps: int) -> list[float]:
    """Times of the ends of the steps, with `ZeroShotTrainer` as `zskd distill` sets it."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        trainer = ZeroShotTrainer(
            copy.deepcopy(start.model),
            arguments(folder, batch, max_steps=steps),
            train_dataset=rows,
            processing_class=start.tokenizer,
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.times


def with_loop(start: InitialStudent, rows: Dataset, batch: int, steps: int) -> list[float]:
    """Times of the ends of the steps of a loop that does the same and nothing else."""
    model = copy.deepcopy(start.model).train()
    lengths = rows.with_format("numpy", columns=["length"])["length"][:]
    loader = DataLoader(
        rows,
        batch_size=batch,
        sampler=LengthGroupedSampler(np.asarray(lengths), batch, 0),
        collate_fn=TransferCollator.of(start.tokenizer),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, int(WARMUP * steps), steps)
    times: list[float] = []
    while len(times) < steps:
        for inputs_of_step in loader:
            target = inputs_of_step.pop("teacher_logits").to(model.device)
            moved = {name: value.to(model.device) for name, value in inputs_of_step.items()}
            kd_loss(target, model(**moved).logits).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            times.append(time.perf_counter())
            if len(times) == steps:
                break
    return times


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=16)
    given = parser.parse_args()
    teacher = default_teacher()
    pool, _ = inputs(8_192)
    start = default_student(teacher)
    found: dict[str, list[float]] = {"bare loop": [], "ZeroShotTrainer": []}
    with tempfile.TemporaryDirectory() as folder:
        texts = labelled(pool, teacher, Path(folder), teacher.precision("auto"))
        rows = encode(texts, start.tokenizer, LENGTH, Path(folder, "rows.arrow"))
        loops = [("bare loop", with_loop), ("ZeroShotTrainer", with_trainer)]
        for i in range(given.repeats):
            for name, run in loops[:: -1 if i % 2 else 1]:
                times = run(start, rows, given.batch, given.steps)
                kept = times[given.steps // 10 :]
                found[name].append(1000 * (kept[-1] - kept[0]) / (len(kept) - 1))
    overheads = {name: [a / b - 1 for a, b in zip(found[name], found["bare loop"], strict=True)] for name in found}
    report(
        "trainer",
        [
            {
                "loop": name,
                "ms a step": round(statistics.median(values), 3),
                "lowest": round(min(values), 3),
                "highest": round(max(values), 3),
                "overhead": round(statistics.median(overheads[name]), 4),
                "quartiles": np.quantile(overheads[name], [0.25, 0.75]).round(4).tolist(),
            }
            for name, values in found.items()
        ],
        steps=given.steps,
        batch=given.batch,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
