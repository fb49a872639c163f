"""Labelling throughput as a share of what the machine's matrix multiplication reaches, and one process against two.

The texts are those of the embedded default's transfer pool; time includes tokenization and writing the shards. Only
real tokens count as work: two operations a weight of the encoder's linear maps, and attention's two products.

    python -m recipes.benchmarks.labelling [--texts 16384] [--threads 2]
    python -m recipes.benchmarks.labelling --processes        one against two processes, each pinned to a core
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset

from recipes.benchmarks.common import LENGTH, default_teacher, inputs, labelled, report
from zskd.models.encoding import encode_texts
from zskd.system.precision import HALVES
from zskd.system.processes import join
from zskd.teacher.classifier import Classifier

DTYPES = {"fp32": torch.float32, **HALVES}


def peak(dtype: torch.dtype, device: torch.device, least: float = 1.0) -> float:
    """Operations per second that matrix products keep up for `least` seconds, at the best of several sizes.

    For a second and not for one product, because labelling lasts too: a processor is faster for an instant.
    """
    best = 0.0
    for rows, inner, columns in ((4096, 384, 1536), (4096, 1536, 384), (2048, 2048, 2048), (4096, 4096, 4096)):
        left, right = (torch.randn(*size, dtype=dtype, device=device) for size in ((rows, inner), (inner, columns)))
        left @ right
        done, started = 0, time.perf_counter()
        while (seconds := time.perf_counter() - started) < least or not done:
            left @ right
            if device.type == "cuda":
                torch.cuda.synchronize()
            done += 1
        best = max(best, done * 2 * rows * inner * columns / seconds)
    return best


def work(teacher: Classifier, pool: Dataset) -> tuple[float, int]:
    """Operations that the real tokens of a pool take, and how many tokens there are."""
    lengths = [len(ids) for ids in encode_texts(teacher.tokenizer, (pool["text"][:],), LENGTH)["input_ids"]]
    model = teacher.model
    linear = sum(m.weight.numel() for m in model.base_model.encoder.modules() if isinstance(m, torch.nn.Linear))
    config = model.config
    attention = 4 * config.hidden_size * config.num_hidden_layers
    return sum(2 * linear * n + attention * n * n for n in lengths), sum(lengths)


def measure(texts: int, repeats: int) -> list[dict[str, Any]]:
    """Throughput at each precision, the best of `repeats` runs."""
    teacher = default_teacher()
    pool, _ = inputs(texts)
    operations, tokens = work(teacher, pool)
    rows = []
    for precision, compile in (("fp32", False), ("bf16", False), ("bf16", True)):
        dtype = DTYPES[precision]
        labeller = teacher.for_inference(precision, compile)
        limit, first, best = 0.0, 0.0, float("inf")
        for _ in range(repeats):
            limit = max(limit, peak(dtype, teacher.model.device))
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                labelled(pool, labeller, Path(folder), precision)
                seconds = time.perf_counter() - started
            first, best = first or seconds, min(best, seconds)
        rows.append(
            {
                "precision": precision + (", compiled" if compile else ""),
                "first, s": round(first, 1),
                "best, s": round(best, 1),
                "texts/s": round(texts / best),
                "tokens/s": round(tokens / best),
                "GFLOP/s": round(operations / best / 1e9),
                "matmul peak": round(limit / 1e9),
                "share of peak": round(operations / best / limit, 3),
            }
        )
    return rows


def worker(texts: int) -> None:
    """Label in this process's turn, pinned to the core of its rank; the main one prints the seconds."""
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    torch.set_num_threads(1)
    join(None)
    state = PartialState()
    labeller = default_teacher().for_inference("bf16")
    pool, _ = inputs(texts)
    labelled(pool.select(range(256)), labeller, Path(os.environ["BENCHMARK_CACHE"], "first"), "bf16")
    state.wait_for_everyone()
    started = time.perf_counter()
    labelled(pool, labeller, Path(os.environ["BENCHMARK_CACHE"]), "bf16")
    if state.is_main_process:
        print(json.dumps({"processes": state.num_processes, "seconds": time.perf_counter() - started}))


def one_against_two(texts: int, repeats: int) -> list[dict[str, Any]]:
    """Throughput of one and of two pinned processes, the best of `repeats` runs in turns."""
    inputs(texts)  # in the cache before the clock runs
    best: dict[int, float] = {}
    for _ in range(repeats):
        for processes in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
                command = [sys.executable, *launcher, "-m", "recipes.benchmarks.labelling", "--worker"]
                environment = {**os.environ, "BENCHMARK_CACHE": folder, "OMP_NUM_THREADS": "1"}
                done = subprocess.run(
                    [*command, "--texts", str(texts)], env=environment, stdout=subprocess.PIPE, text=True, check=True
                )
                found = json.loads(done.stdout.strip().splitlines()[-1])
                assert found["processes"] == processes
                best[processes] = min(best.get(processes, float("inf")), found["seconds"])
    return [
        {"processes": n, "texts/s": round(texts / seconds), "factor": round(best[1] / seconds, 2)}
        for n, seconds in best.items()
    ]


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=16_384)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processes", action="store_true", help="one process against two instead")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.texts)
    elif arguments.processes:
        report("processes", one_against_two(arguments.texts, arguments.repeats), texts=arguments.texts)
    else:
        torch.set_num_threads(arguments.threads or torch.get_num_threads())
        report("labelling", measure(arguments.texts, arguments.repeats), texts=arguments.texts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
