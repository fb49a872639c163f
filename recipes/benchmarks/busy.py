"""How long a run of the embedded default takes, alone and beside busy loops, and what older code took.

Every measurement is the command `zskd distill --task sst2 --config embedded`, on two cores if the machine has more, and
its seconds by stage are those that it writes. Versions and numbers of loops take turns.

    python -m recipes.benchmarks.busy [--inputs 24000] [--repeats 3] [--loops 0 1 2] [--old COMMIT] [--perturb random]
    python -m recipes.benchmarks.busy --inputs 180000 --loops 0 --cache empty --old COMMIT      make distill, cold
    python -m recipes.benchmarks.busy --inputs 180000 --loops 0 --cache warm --old COMMIT       make distill, warm

``--cache labels`` (the default) lets the teacher label anew, with text and models there; ``empty`` starts from nothing,
``warm`` has everything from an earlier run. Environment variables reach the command, such as ``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from recipes.benchmarks.common import report
from recipes.checkouts import ROOT, checked_out
from zskd.system.machine import cpu_flags
from zskd.system.waiting import ROUNDS

OURS = ("GOMP_SPINCOUNT", ROUNDS)  # as `recipes` sets it, unless the user says otherwise
STAGES = ("labelling", "training", "total")
CACHES = ("labels", "empty", "warm")


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Programs that compute without end, beside what is done inside."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for loop in started:
            loop.kill()
            loop.wait()


def distil(code: Path, cache: Path, loops: int, inputs: int, perturb: str) -> dict[str, float]:
    """Seconds of a run by stage, and of the whole command with its imports, as ``wall``."""
    with tempfile.TemporaryDirectory() as folder, busy(loops):
        run = Path(folder, "run")
        command = [sys.executable, "-m", "zskd", "distill", "--task", "sst2", "--config", "embedded"]
        options = ["--pool-size", inputs, "--perturb", perturb, "--output-dir", run, "--cache-dir", cache]
        started = time.perf_counter()
        subprocess.run(
            [*command, *map(str, options)],
            cwd=code,
            # The command says itself how threads wait; older code has to do it as it did.
            env={**{k: v for k, v in os.environ.items() if (k, v) != OURS}, "PYTHONPATH": str(code)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        wall = time.perf_counter() - started
        metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return {**{stage: metrics["seconds"].get(stage, 0.0) for stage in STAGES}, "wall": wall}


def empty(cache: Path, what: str) -> None:
    """Remove from a cache what is to be made anew."""
    if what == "empty":
        shutil.rmtree(cache, ignore_errors=True)
    elif what == "labels":
        shutil.rmtree(cache / "labels", ignore_errors=True)


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=24_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loops", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--perturb", default="random", choices=("random", "adversarial"))
    parser.add_argument("--cache", default="labels", choices=CACHES)
    parser.add_argument("--old", metavar="COMMIT", help="an older commit, in the same turns")
    parser.add_argument("--name", default="busy", help="of the result in docs/results/benchmarks")
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        codes = {"new": ROOT}
        if given.old:
            codes = {"old": stack.enter_context(checked_out("old", given.old, folder)).folder, **codes}
        if given.cache != "empty":
            for name, code in codes.items():  # fills the cache, and is not counted
                distil(code, folder / f"cache-{name}", 0, given.inputs, given.perturb)
        for _ in range(given.repeats):
            for loops in given.loops:
                for name, code in codes.items():
                    cache = folder / f"cache-{name}"
                    empty(cache, given.cache)
                    seconds = distil(code, cache, loops, given.inputs, given.perturb)
                    found.setdefault((name, loops), []).append(seconds)
                    print(name, loops, {stage: round(value, 1) for stage, value in seconds.items()}, flush=True)
    rows = []
    for (name, loops), runs in found.items():
        row: dict[str, Any] = {"code": name, "busy loops": loops}
        for stage in (*STAGES, "wall"):
            low, middle, high = np.quantile([run[stage] for run in runs], [0.25, 0.5, 0.75])
            row |= {f"{stage}, s": round(float(middle), 1), f"{stage}, quartiles": f"{low:.1f} to {high:.1f}"}
        rows.append(row)
    report(given.name, rows, flags=cpu_flags(), **{k: v for k, v in vars(given).items() if k != "name"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
