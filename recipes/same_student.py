"""Do two versions of zskd make the same student? Both are checked out, run and compared bit for bit.

A case is one text or two, ``--perturb random`` or ``adversarial`` with either adversary, one process or two, and takes
four runs of seconds:

    old      the OLD version, uninterrupted
    new      the NEW version, uninterrupted
    handed   killed under OLD, in phase 2 where there is one, and resumed by NEW with OLD's cache
    resumed  killed under NEW and resumed by NEW

All have to end with the same student, the same last checkpoint, the same counts, and the same keys of ``metrics.json``
and of the cache (text, pools, labels, word features, generators). NEW has to take the run that OLD finished for
finished and leave it alone. Of zskd the recipe knows the command line and the names of what it writes, and it imports
none of it, because modules move between versions.

    python -m recipes.same_student OLD_COMMIT [NEW_COMMIT] [--cases 'one-*' two-random-1] [--jobs 2]

Bits differ between machines, so the result names what decides them. Exit code 1: something differs.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import importlib.metadata
import itertools
import json
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from recipes.checkouts import ENVIRONMENT, RunFailed, Version, checked_out, distil, distil_and_kill, git
from recipes.outcomes import RUNS, Outcome, as_json, differences, read_outcome, sha256, table
from recipes.tiny import make_student, make_teacher, prose

RESULT = Path("docs/results/same_student.json")
LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "datasets", "numpy")
INSTRUCTIONS = (
    "avx",
    "amx",
    "fma",
    "sse4",
    "asimd",
    "sve",
    "bf16",
    "i8mm",
)  # how flags of a CPU that decide bits begin

# By number of texts: a task, and its columns and label names as GLUE has them.
TASKS = {
    1: ("sst2", ("sentence",), "label", ("negative", "positive")),
    2: ("mrpc", ("#1 String", "#2 String"), "Quality", ("not_equivalent", "equivalent")),
}
# With this pool the transfer set fills whole batches, whichever adversary writes its share of it, and the middle of the
# steps lies within a round of the generator, where a run that is killed has most to restore.
OPTIONS = {
    "compression": 2.0,
    "pool_size": 800,
    "heldout": 128,
    "max_length": 32,
    "epochs": 2.0,
    "learning_rate": 0.01,
    "batch_size": 32,
    "checkpoints": 5,
    "logging_steps": 5,
    "precision": "fp32",
    "row_candidates": 3,
    "generator_warmup": 2,
    "generator_steps": 2,
    "student_steps": 8,
    "hub_eval": False,
}
METHODS = {
    "random": ("--perturb", "random"),
    "gradient": ("--perturb", "adversarial", "--adversary", "gradient"),
    "candidates": ("--perturb", "adversarial", "--adversary", "candidates"),
}


@dataclass(frozen=True)
class Case:
    """Options that both versions run with."""

    texts: int
    method: str
    processes: int

    @property
    def name(self) -> str:
        """As ``--cases`` takes it."""
        return f"{'one' if self.texts == 1 else 'two'}-{self.method}-{self.processes}"

    def flags(self, fixtures: Path) -> list[str]:
        """Of the command line, but for the run's own folders."""
        task = TASKS[self.texts][0]
        flags = ["--config", str(fixtures / "options.yaml"), "--task", task, "--teacher", str(fixtures / task)]
        flags += ["--corpus", str(fixtures / f"{task}.txt"), *METHODS[self.method]]
        if self.method == "candidates":  # the others build theirs, which has no dropout
            flags += ["--student", str(fixtures / f"{task}-student")]
        if self.processes > 1:  # alone, repeated rows balance the classes; here they would leave a batch half empty
            flags += ["--num-processes", str(self.processes), "--max-class-share", "1"]
        return flags


CASES = [Case(*parts) for parts in itertools.product((1, 2), METHODS, (1, 2))]


def recognises(version: Version, flags: list[str], run: Path) -> bool:
    """True where ``--resume`` of a finished run prints its metrics and leaves every file as it is."""

    def snapshot() -> dict[Path, tuple[int, str]]:
        files = (path for path in run.rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, sha256(path)) for path in files}

    before = snapshot()
    printed = distil(version, flags, run, "--resume", "--json")
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return snapshot() == before and json.loads(printed) == metrics


def compare(case: Case, old: Version, new: Version, fixtures: Path, folder: Path, jobs: int) -> dict[str, Any]:
    """All runs of a case, and what differs.

    Raises:
        RunFailed: one of them ended badly.
    """
    folder.mkdir()
    caches = {version: folder / f"{version.name}-cache" for version in (old, new)}
    flags = {version: [*case.flags(fixtures), "--cache-dir", str(cache)] for version, cache in caches.items()}

    def whole(version: Version) -> Outcome:
        distil(version, flags[version], folder / version.name)
        return read_outcome(folder / version.name, caches[version])

    def killed(version: Version) -> None:
        distil_and_kill(version, flags[version], folder / f"{version.name}-killed", case.processes)

    def resumed(version: Version) -> Outcome:
        distil(new, flags[version], folder / f"{version.name}-killed", "--resume")
        return read_outcome(folder / f"{version.name}-killed", caches[version])

    started = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = dict(zip(RUNS[:2], pool.map(whole, (old, new)), strict=True))
        finished = pool.submit(recognises, new, flags[old], folder / old.name)
        list(pool.map(killed, (old, new)))
        outcomes |= zip(RUNS[2:], pool.map(resumed, (old, new)), strict=True)
        recognised = finished.result()
    seconds = round(time.perf_counter() - started)
    found = differences(outcomes)
    if not recognised:
        found.append("new: expected the run that OLD finished to be taken for finished and left alone")
    return {"equal": not found, "differences": found, "seconds": seconds, **as_json(outcomes), "finished": recognised}


def make_fixtures(folder: Path, checkout: Path) -> None:
    """Options, text, teachers and students to start from; the teachers know the probes that a checkout holds."""
    folder.mkdir()
    (folder / "options.yaml").write_text(yaml.safe_dump(OPTIONS), encoding="utf-8")
    for texts, (task, columns, label_column, labels) in TASKS.items():
        (probe,) = (checkout / "zskd").rglob(f"probes/{task}.tsv")
        make_teacher(folder / task, probe, columns, label_column, labels)
        make_student(folder / f"{task}-student", folder / task, labels)
        # Pairs are made of neighbours too, so their passages have several sentences.
        lines, passage = prose(600 * texts, seed=texts), 1 if texts == 1 else 3
        passages = [" ".join(lines[start : start + passage]) for start in range(0, len(lines), passage)]
        (folder / f"{task}.txt").write_text("\n".join(passages) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What decides bits beside the code."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    values = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = values.get("flags", values.get("features", "")).split()
    return {
        "cpu": values.get("model name", platform.machine()),
        "flags": sorted(flag for flag in flags if flag.startswith(INSTRUCTIONS)),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": int(ENVIRONMENT["OMP_NUM_THREADS"]),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in LIBRARIES},
        },
    }


def run(old: Version, new: Version, cases: list[Case], work: Path, jobs: int) -> dict[str, dict[str, Any]]:
    """Name -> result of every case; one that failed is told from one that differs by its lines."""
    make_fixtures(work / "fixtures", old.folder)
    results: dict[str, dict[str, Any]] = {}
    for case in cases:
        try:
            results[case.name] = compare(case, old, new, work / "fixtures", work / case.name, jobs)
        except RunFailed as failure:
            results[case.name] = {"equal": False, "differences": [str(failure)]}
        print(table({case.name: results[case.name]}).splitlines()[1], flush=True)
    return results


def main(arguments: list[str] | None = None) -> int:
    """Compare, print a table, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD_COMMIT")
    parser.add_argument("new", metavar="NEW_COMMIT", nargs="?", default="HEAD")
    parser.add_argument(
        "--cases", nargs="+", metavar="PATTERN", default=["*"], help="names, with * and ? (default all)"
    )
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=2, help="runs at a time (default 2)")
    parser.add_argument("--output", type=Path, default=RESULT, help=f"default {RESULT}")
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if any(fnmatch.fnmatch(case.name, pattern) for pattern in options.cases)]
    if not cases:
        parser.error(f"--cases: expected some of {', '.join(case.name for case in CASES)}, found {options.cases}")
    if options.new == "HEAD" and (changed := git("status", "--porcelain")):
        print(f"same student: HEAD is compared, without what is not committed:\n{changed}", file=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the worktrees are removed then too
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        work = Path(folder).resolve()
        try:
            old, new = (stack.enter_context(checked_out(n, getattr(options, n), work)) for n in ("old", "new"))
        except subprocess.CalledProcessError as error:
            parser.error(error.stderr.strip())
        results = run(old, new, cases, work, options.jobs)
    equal = all(case["equal"] for case in results.values())
    seconds, used = round(time.perf_counter() - started), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = round(used.ru_utime + used.ru_stime)  # what seconds would be on one idle core
    found = {"old": old.commit, "new": new.commit, "equal": equal, "seconds": seconds, "cpu_seconds": cpu_seconds}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    content = {**found, "machine": machine(), "options": OPTIONS, "cases": results}
    options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(table(results))
    for name, case in results.items():
        print(*(f"{name}: {line}\n" for line in case["differences"]), sep="", end="")
    said = "equal" if equal else "DIFFERENT"
    print(f"same student: {said} in {len(results)} cases, {seconds} s ({cpu_seconds} s of CPU)")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
