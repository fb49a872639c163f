"""What the benchmarks share: the machine they ran on, the default's text and models, tables."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import set_seed

from zskd.config.resolve import cache_root
from zskd.student.initial import InitialStudent, initial_student
from zskd.system.files import write_text
from zskd.system.machine import machine as kind_of_machine
from zskd.tasks.task import TASKS
from zskd.teacher.base import Teacher
from zskd.teacher.classifier import Classifier
from zskd.teacher.labelling import label_texts
from zskd.teacher.load import load_teacher
from zskd.text.corpus import build_corpus
from zskd.text.shaping import build_pools
from zskd.text.sources import find_sources
from zskd.training.arguments import ZeroShotArguments

RESULTS = Path("docs/results/benchmarks")
TASK = TASKS["sst2"]
LENGTH = TASK.max_length
RATE, WARMUP, DECAY, CLIP = 2.0e-3, 0.06, 0.01, 1.0


def machine() -> dict[str, Any]:
    """What the numbers were measured on: versions, device, and the instructions that decide its speed."""
    found = {"python": platform.python_version(), "torch": torch.__version__, **kind_of_machine()}
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        found["device"] = names[0] if names else platform.processor()
    return found


def inputs(count: int, heldout: int = 4_000, perturb: str = "random") -> tuple[Dataset, Dataset]:
    """`count` inputs of the transfer pool that the embedded default has on this machine, and held-out ones."""
    corpus = build_corpus(find_sources(["embedded"]), 1.0, cache_root(None))
    pools = build_pools(
        corpus, inputs=TASK.inputs, size=count, heldout=heldout, perturb=perturb, seed=0, cache=cache_root(None)
    )
    return pools.transfer, pools.report


def default_teacher() -> Classifier:
    """The embedded default's teacher, on the device where models run."""
    return load_teacher(TASK, "embedded").require_weights("the benchmarks")


def default_student(teacher: Classifier) -> InitialStudent:
    """The embedded default's student."""
    set_seed(0)
    precision = teacher.precision("auto")
    return initial_student(
        TASK, "build", None, teacher, compression=30.0, precision=precision, seed=0, cache=cache_root(None)
    )


def labelled(pool: Dataset, teacher: Teacher, cache: Path, precision: str) -> Dataset:
    """A pool with the teacher's logits."""
    found = label_texts(pool, teacher, cache, max_length=LENGTH, precision=precision, description="labels")
    return found.dataset


def arguments(folder: str, batch: int, **options: Any) -> ZeroShotArguments:
    """Trainer's arguments as `zskd distill` sets them for the default's student, without checkpoints."""
    return ZeroShotArguments(
        folder,
        per_device_train_batch_size=batch,
        learning_rate=RATE,
        warmup_steps=WARMUP,
        weight_decay=DECAY,
        max_grad_norm=CLIP,
        logging_steps=50,
        logging_nan_inf_filter=False,
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        **options,
    )


def report(name: str, rows: list[dict[str, Any]], **about: Any) -> None:
    """Print rows as a table and keep them with the machine in ``docs/results/benchmarks/NAME.json``."""
    header = list(rows[0])
    shown = [
        [format(row[key], ",.3f") if isinstance(row[key], float) else str(row[key]) for key in header] for row in rows
    ]
    widths = [max(len(line[i]) for line in [header, *shown]) for i in range(len(header))]
    for line in [header, *shown]:
        print("  ".join(value.rjust(width) for value, width in zip(line, widths, strict=True)))
    content = {"machine": machine(), **about, "rows": rows}
    write_text(RESULTS / f"{name}.json", json.dumps(content, indent=1) + "\n")
