"""Sentences per second of labelling, phase 1 and the adversarial phase, for a teacher and a student of given shapes.

Weights are random, so only speed is measured. The defaults are BERT-large and BERT-mini, for a GPU; on a CPU give
smaller ones. Labelling includes tokenization and writing the shards, and is also given as a share of what the machine's
matrix products keep up; the phases include everything that `ZeroShotTrainer` does in a step.

    python -m recipes.benchmarks.shapes [--teacher 24x1024] [--student 4x256] [--sentences 65536] [--steps 300]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import BertConfig, BertForSequenceClassification, PrinterCallback, set_seed

from recipes.benchmarks.common import LENGTH, TASK, arguments, default_teacher, inputs, labelled, report
from recipes.benchmarks.labelling import DTYPES, peak, work
from recipes.benchmarks.trainer import Clock
from zskd.config.methods.adversarial import AdversarialOptions
from zskd.methods.adversarial.adversary import Adversarial
from zskd.methods.adversarial.generator import build_generator
from zskd.methods.adversarial.gradient import GradientAdversary
from zskd.models.quiet import quiet_transformers
from zskd.teacher.classifier import Classifier, classifier_from
from zskd.training.trainer import ZeroShotTrainer
from zskd.transfer.rows import encode


def shape(text: str) -> tuple[int, int]:
    """Layers and width of ``24x1024``.

    Raises:
        argparse.ArgumentTypeError: it is not of this form, or the width is no multiple of a head's 64.
    """
    layers, _, width = text.partition("x")
    if not (layers.isdigit() and width.isdigit() and int(layers) and int(width) and int(width) % 64 == 0):
        raise argparse.ArgumentTypeError(f"expected LAYERSxWIDTH with a width of 64, 128, ..., found {text!r}")
    return int(layers), int(width)


def bert(teacher: Classifier, layers: int, width: int) -> BertForSequenceClassification:
    """A BERT with random weights for the tokenizer of `teacher`, on its device."""
    config = BertConfig(
        vocab_size=teacher.model.config.vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        id2label=dict(enumerate(TASK.labels)),
        label2id={label: i for i, label in enumerate(TASK.labels)},
    )
    return BertForSequenceClassification(config).to(teacher.model.device)


def as_teacher(teacher: Classifier, model: BertForSequenceClassification) -> Classifier:
    """The model, frozen, in the place of `teacher`."""
    return classifier_from(TASK, model, teacher.tokenizer, name="random weights")


def rows_per_second(
    student: BertForSequenceClassification, large: Classifier, rows: Dataset, batch: int, steps: int, adversarial: bool
) -> float:
    """Rows that `ZeroShotTrainer` trains on in a second, after the first tenth of the steps."""
    clock = Clock()
    precision = large.precision("auto")
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        options = arguments(folder, batch, max_steps=steps, bf16=torch.cuda.is_available(), temperature=1.0)
        methods = []
        if adversarial:
            settings = AdversarialOptions(adversarial_start=0.0)
            methods = [Adversarial(GradientAdversary(build_generator(large), large, settings, precision=precision))]
        trainer = ZeroShotTrainer(
            student,
            options,
            train_dataset=rows,
            processing_class=large.tokenizer,
            callbacks=[clock],
            methods=methods,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    kept = clock.times[steps // 10 :]
    return batch * (len(kept) - 1) / (kept[-1] - kept[0])


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=shape, default=(24, 1024), metavar="LAYERSxWIDTH")
    parser.add_argument("--student", type=shape, default=(4, 256), metavar="LAYERSxWIDTH")
    parser.add_argument("--sentences", type=int, default=65_536)
    parser.add_argument("--steps", type=int, default=300, help="of each phase")
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args()
    teacher = default_teacher()
    pool, _ = inputs(given.sentences)
    set_seed(0)
    large = as_teacher(teacher, bert(teacher, *given.teacher))
    device = large.model.device
    precision = large.precision("auto")
    table: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        labeller = large.for_inference(precision)
        labelled(pool.select(range(512)), labeller, Path(folder, "first"), precision)
        limit = peak(DTYPES[precision], device)
        started = time.perf_counter()
        texts = labelled(pool, labeller, Path(folder), precision)
        seconds = time.perf_counter() - started
        operations, _ = work(large, pool)
        share = f"{operations / seconds / limit:.1%} of {limit / 1e12:.2f} TFLOP/s"
        table.append({"phase": f"labelling, {precision}", "sentences/s": round(len(pool) / seconds), "of peak": share})
        print(table[-1], flush=True)
        rows = encode(texts, large.tokenizer, LENGTH, Path(folder, "rows.arrow"))
        for name, adversarial in (("phase 1", False), ("adversarial phase", True)):
            set_seed(0)
            student = bert(teacher, *given.student)
            speed = rows_per_second(student, large, rows, given.batch, given.steps, adversarial)
            table.append({"phase": name, "sentences/s": round(speed), "of peak": ""})
            print(table[-1], flush=True)
    shapes = {name: "x".join(map(str, getattr(given, name))) for name in ("teacher", "student")}
    report("shapes", table, **shapes, sentences=given.sentences, batch=given.batch, steps=given.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
