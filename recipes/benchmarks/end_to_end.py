"""Seconds until the same student has seen the same text, with zskd, TextBrewer and a Trainer that holds the teacher.

Same teacher, student, initial weights, text, epochs, batch, learning rate and schedule; one after the other in one run:

    textbrewer      `GeneralDistiller` as its package ships it: float32, inputs padded to the maximum length
    live, fixed     a `transformers.Trainer` with the teacher in `compute_loss`, inputs padded to the maximum length
    live, padded    the same with batches padded to their longest input, of similar length
    live, bf16      the same with the teacher in bfloat16 (where the processor has it)
    zskd, fp32      labelled once in float32, then trained from the cache
    zskd            labelled once in the precision that zskd chooses

The factors of padding, precision and caching are the quotients of neighbours. Agreement is that with the float32
teacher on held-out text, which no run saw.

    pip install textbrewer
    python -m recipes.benchmarks.end_to_end [--sentences 50000] [--epochs 4] [--runs zskd "live, bf16"]
"""

from __future__ import annotations

import argparse
import copy
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PrinterCallback, get_linear_schedule_with_warmup, set_seed

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
from zskd.system.precision import autocast
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier, classifier_from
from zskd.training.objective import kd_loss
from zskd.training.trainer import ZeroShotTrainer
from zskd.transfer.collator import TransferCollator
from zskd.transfer.rows import encode

Batch = dict[str, torch.Tensor]


class LiveTrainer(ZeroShotTrainer):
    """Asks the teacher for its logits in every step, as most recipes do."""

    def __init__(self, *args: Any, teacher: Classifier, precision: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.teacher, self.precision = teacher, precision

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The distillation loss against the live teacher."""
        asked = {name: value for name, value in inputs.items() if name != "teacher_logits"}
        device = inputs["input_ids"].device.type
        with torch.inference_mode(), autocast(device, self.precision):
            logits = self.teacher.in_task_order(self.teacher.model(**asked).logits.float())
        outputs = model(**asked)
        loss = kd_loss(logits.clone(), outputs.logits, self.args.temperature)
        return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss


def fixed(start: InitialStudent) -> Callable[[list[dict[str, Any]]], Batch]:
    """A collator that pads to the maximum length."""
    inner = TransferCollator.of(start.tokenizer)
    longest = {"input_ids": [inner.pad_token_id] * LENGTH, "teacher_logits": [0.0] * TASKS["sst2"].num_labels}

    def collate(rows: list[dict[str, Any]]) -> Batch:
        batch = inner([*rows, longest])  # one row of the full length sets the width, and leaves again
        return {name: value[:-1] for name, value in batch.items()}

    return collate


def train(
    start: InitialStudent,
    rows: Dataset,
    epochs: float,
    batch: int,
    live: tuple[Classifier, str] | None = None,
    pad: bool = True,
) -> PreTrainedModel:
    """A student trained with the transfer set's logits, or with a live teacher."""
    made: type[ZeroShotTrainer] = ZeroShotTrainer
    options: dict[str, Any] = {}
    if live:
        made, options = LiveTrainer, {"teacher": live[0], "precision": live[1]}
    if not pad:
        options["data_collator"] = fixed(start)
    model = copy.deepcopy(start.model)
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        trainer = made(
            model,
            arguments(folder, batch, num_train_epochs=epochs),
            train_dataset=rows,
            processing_class=start.tokenizer,
            **options,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return model


def with_textbrewer(
    start: InitialStudent, teacher: Classifier, rows: Dataset, epochs: float, batch: int
) -> PreTrainedModel:
    """A student trained by TextBrewer's `GeneralDistiller`."""
    from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig

    logging.getLogger("Distillation").setLevel(logging.WARNING)
    model = copy.deepcopy(start.model).train()
    loader = DataLoader(rows, batch_size=batch, shuffle=True, collate_fn=fixed(start), drop_last=True)
    steps = int(epochs * len(loader))

    def forward(batch: Batch, outputs: Any) -> dict[str, Any]:
        return {"logits": outputs.logits}

    def without_target(batch: Batch) -> Batch:
        return {name: value for name, value in batch.items() if name != "teacher_logits"}

    with tempfile.TemporaryDirectory() as folder:
        distiller = GeneralDistiller(
            TrainingConfig(output_dir=folder, device=str(teacher.model.device), ckpt_frequency=1),
            DistillationConfig(temperature=1),
            teacher.model,
            model,
            forward,
            forward,
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = get_linear_schedule_with_warmup(optimizer, int(WARMUP * steps), steps)
        with distiller:
            distiller.train(
                optimizer,
                loader,
                num_epochs=int(epochs),
                scheduler=schedule,
                max_grad_norm=CLIP,
                batch_postprocessor=without_target,
            )
    return model


def main() -> int:
    """Run one after the other and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    names = ("textbrewer", "live, fixed", "live, padded", "live, bf16", "zskd, fp32", "zskd")
    parser.add_argument("--runs", nargs="+", default=list(names), choices=names)
    given = parser.parse_args()
    teacher = default_teacher()
    pool, heldout = inputs(given.sentences)
    start = default_student(teacher)
    precision = teacher.precision("auto")
    target = teacher.logits((heldout["text"][:],), max_length=LENGTH).argmax(axis=1)
    table = []
    with tempfile.TemporaryDirectory() as folder:
        blank = pool.add_column("teacher_logits", np.zeros((len(pool), teacher.model.config.num_labels)).tolist())
        rows = encode(blank, start.tokenizer, LENGTH, Path(folder, "rows.arrow"))

        def cached(precision: str) -> PreTrainedModel:
            with tempfile.TemporaryDirectory(dir=folder) as own:
                texts = labelled(pool, teacher.for_inference(precision), Path(own), precision)
                answered = encode(texts, start.tokenizer, LENGTH, Path(own, "rows.arrow"))
                return train(start, answered, given.epochs, given.batch)

        size, epochs = given.batch, given.epochs
        runs: dict[str, Callable[[], PreTrainedModel]] = {
            "textbrewer": lambda: with_textbrewer(start, teacher, rows, epochs, size),
            "live, fixed": lambda: train(start, rows, epochs, size, (teacher, "fp32"), pad=False),
            "live, padded": lambda: train(start, rows, epochs, size, (teacher, "fp32")),
            "live, bf16": lambda: train(start, rows, epochs, size, (teacher, precision)),
            "zskd, fp32": lambda: cached("fp32"),
            "zskd": lambda: cached(precision),
        }
        for name in given.runs:
            set_seed(0)
            started = time.perf_counter()
            model = runs[name]()
            seconds = time.perf_counter() - started
            classifier = classifier_from(TASKS["sst2"], model, start.tokenizer, name=name, frozen=False)
            found = classifier.logits((heldout["text"][:],), max_length=LENGTH)
            agreed = float((found.argmax(axis=1) == target).mean())
            table.append({"run": name, "seconds": round(seconds, 1), "agreement": round(agreed, 4)})
            print(table[-1], flush=True)
    fastest = next((row["seconds"] for row in table if row["run"] == "zskd"), None)
    for row in table:
        row["zskd is faster by"] = round(row["seconds"] / fastest, 2) if fastest else None
    about = {"sentences": given.sentences, "epochs": given.epochs, "batch": given.batch}
    report("end_to_end", table, precision=precision, **about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
