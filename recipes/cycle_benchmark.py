"""Time of one adversarial cycle: a generator step and a student step on the rows it wrote, three ways.

    dense, fixed     the loop of MATE-KD's public code: every input padded to 128 tokens, the generator's head and a
                     dense one-hot row of the whole vocabulary at every position, times both embedding tables, and
                     generator and teacher run again for the student's step
    dense, padded    the same loop with every batch padded to its longest input
    zskd             `GradientAdversary` inside `Adversarial`: head, candidates and gradients at masked positions
                     only, one answer of the teacher for both steps

Equal batch, models, masking rate, precision (float32) and text (Wikipedia spans). The loops take turns cycle by cycle,
so that whatever else the machine does falls on all of them; medians are given.

    python -m recipes.cycle_benchmark --data DIR [--batch 16] [--cycles 12] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import functional
from transformers import PreTrainedModel, set_seed

from recipes.cells import wikipedia
from zskd.config.methods.adversarial import AdversarialOptions
from zskd.config.resolve import cache_root
from zskd.methods.adversarial.adversary import Adversarial
from zskd.methods.adversarial.generator import build_generator
from zskd.methods.adversarial.gradient import GradientAdversary
from zskd.methods.context import Training
from zskd.methods.step import Step
from zskd.metrics.divergence import kl_divergence
from zskd.student.built import build_student
from zskd.system.files import write_text
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier, load_classifier
from zskd.text.corpus import build_corpus
from zskd.text.shaping import build_pools
from zskd.text.sources import find_sources
from zskd.training.objective import kd_loss
from zskd.transfer.collator import TransferCollator
from zskd.transfer.rows import transfer_rows

Inputs = dict[str, torch.Tensor]
FIXED = 128
MASK_RATE = 0.3
RESULT = Path("docs/results/cycle.json")


def dense_cycle(
    generator: PreTrainedModel, teacher: Classifier, student: PreTrainedModel, fixed: bool
) -> Callable[[Inputs], None]:
    """A cycle of the dense loop."""
    mask_token = teacher.tokenizer.mask_token_id
    special = torch.tensor(teacher.tokenizer.all_special_ids)
    adversarial = torch.optim.AdamW(generator.parameters(), lr=5.0e-7)
    learning = torch.optim.AdamW(student.parameters(), lr=2.0e-5)
    tables = [model.get_input_embeddings().weight for model in (teacher.model, student)]

    def write(inputs: Inputs) -> list[torch.Tensor]:
        ids = inputs["input_ids"]
        chosen = (torch.rand(ids.shape) < MASK_RATE) & ~torch.isin(ids, special)
        masked = ids.masked_fill(chosen, mask_token)
        logits = generator(input_ids=masked, attention_mask=inputs["attention_mask"]).logits
        one_hot = functional.gumbel_softmax(logits, tau=1.0, hard=True)
        return [torch.where(chosen.unsqueeze(-1), one_hot @ table.detach(), table.detach()[ids]) for table in tables]

    def cycle(inputs: Inputs) -> None:
        if fixed:
            short = FIXED - inputs["input_ids"].shape[1]
            inputs = {name: functional.pad(value, (0, short)) for name, value in inputs.items()}
        mask = inputs["attention_mask"]
        student.eval()
        answers = [
            model(inputs_embeds=embeddings, attention_mask=mask).logits
            for model, embeddings in zip((teacher.model, student), write(inputs), strict=True)
        ]
        weights = list(generator.parameters())
        for weight, gradient in zip(
            weights, torch.autograd.grad(-kl_divergence(*answers).mean(), weights, allow_unused=True), strict=True
        ):
            weight.grad = gradient
        torch.nn.utils.clip_grad_norm_(weights, 5.0)
        adversarial.step()
        student.train()
        with torch.no_grad():
            embeddings = write(inputs)
            labels = teacher.model(inputs_embeds=embeddings[0], attention_mask=mask).logits
        learning.zero_grad()
        kd_loss(labels, student(inputs_embeds=embeddings[1], attention_mask=mask).logits).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        learning.step()

    return cycle


def our_cycle(method: Adversarial, student: PreTrainedModel, cycles: int, batch: int) -> Callable[[Inputs], None]:
    """A cycle as `ZeroShotTrainer` goes through it, every row fresh and the generator learning in every step."""
    learning = torch.optim.AdamW(student.parameters(), lr=2.0e-5)
    step = 0

    def cycle(inputs: Inputs) -> None:
        nonlocal step
        logits = torch.zeros(len(inputs["input_ids"]), 2)
        rows = len(logits)
        place = Step(step, cycles, 0, np.arange(rows), size=batch, whole=batch, student=student)
        mixed = method.batch({**inputs, "teacher_logits": logits}, place)
        student.train()
        learning.zero_grad()
        answers = student(input_ids=mixed["input_ids"], attention_mask=mixed["attention_mask"]).logits
        kd_loss(mixed["teacher_logits"], answers).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        learning.step()
        method.end_step(place)
        step += 1

    return cycle


def main() -> int:
    """Time the three loops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ood/")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--cycles", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--candidates", type=int, default=64, help="as --token-candidates")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cache, task = cache_root(None), TASKS["sst2"]
    teacher = load_classifier(task, "embedded", cache)
    teacher.model.requires_grad_(False)
    corpus = build_corpus(find_sources(wikipedia(options.data)), 1.0, cache)
    size = options.batch * options.cycles
    pools = build_pools(corpus, inputs=task.inputs, size=6 * size, heldout=64, perturb="random", seed=0, cache=cache)
    rows = list(transfer_rows(teacher, (pools.transfer["text"][-size:],), max_length=64))
    rows.sort(key=lambda row: len(row["input_ids"]))
    batches = [TransferCollator(0)(rows[start : start + options.batch]) for start in range(0, size, options.batch)]
    settings = AdversarialOptions(
        adversarial_start=0.0,
        generator_steps=options.cycles,
        student_steps=options.cycles,
        fresh_share=1.0,
        replay_share=0.0,
        mask_rate=MASK_RATE,
        token_candidates=options.candidates,
    )

    def models() -> tuple[PreTrainedModel, PreTrainedModel]:
        set_seed(0)
        return build_generator(teacher), build_student(task, teacher, 30.0, "fp32", cache)[0]

    loops: dict[str, Callable[[Inputs], None]] = {}
    for name in ("dense, fixed", "dense, padded", "zskd"):
        generator, student = models()
        if name == "zskd":
            method = Adversarial(GradientAdversary(generator, teacher, settings))
            method.begin(Training(Accelerator(cpu=True), 0, options.batch, 1, temperature=1.0, learning_rate=0.0))
            loops[name] = our_cycle(method, student, options.cycles, options.batch)
        else:
            loops[name] = dense_cycle(generator.eval(), teacher, student, name == "dense, fixed")
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for batch in batches:
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        for name, loop in loops.items():
            started = time.perf_counter()
            loop(dict(inputs))
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    tokens = [int(batch["attention_mask"].sum()) / options.batch for batch in batches]
    found = {
        "batch": options.batch,
        "threads": options.threads,
        "cycles": options.cycles,
        "candidates": options.candidates,
        "tokens per row": round(statistics.mean(tokens), 1),
        "median seconds": {name: round(value, 4) for name, value in medians.items()},
        "times faster": {name: round(medians[name] / medians["zskd"], 2) for name in medians if name != "zskd"},
    }
    write_text(RESULT, json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
