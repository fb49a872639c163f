"""Does the generator pay? Settings of --perturb adversarial beside random perturbation at equal updates and queries.

A quarter of the default's text and updates, Wikipedia text, one seed. What is compared is the accuracy on rows of the
task's TRAINING file (rows that are contained in another row left out), and the agreement with the teacher there and on
held-out text; the dev file is not opened. This is development evidence that chooses a setting; `glue_table.py` then
measures it. Finished runs are kept in docs/results/adversarial.

    make adversarial-screen ZSKD_DATA=DIR SCREEN="--task sst2 --settings random default"
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from recipes.cells import KEPT, cell_config, finished, start_of, wikipedia
from recipes.training_rows import scores_there
from zskd.cli.parser import set_up_logging
from zskd.config.distillation import DistillConfig
from zskd.pipeline import distill
from zskd.runs.read import FORMERLY
from zskd.system.files import write_text
from zskd.tasks.defaults import POOL_SIZES
from zskd.tasks.task import TASKS, Task
from zskd.teacher.classifier import load_classifier
from zskd.text.shaping import Pools

RESULTS = Path("docs/results/adversarial")
QUARTER = 4

# Name -> options on top of --perturb adversarial; `random` is the control.
SETTINGS: dict[str, dict[str, Any]] = {
    "random": {"perturb": "random"},
    "default": {},
    "frozen": {"generator_steps": 0},
    "early": {"adversarial_start": 0.1},
    "late": {"adversarial_start": 0.6},
    "every-step": {"generator_steps": 50},
    "fast": {"generator_learning_rate": 5.0e-4},
    "mask-50": {"mask_rate": 0.5},
    "mask-15": {"mask_rate": 0.15},
    "whole-vocabulary": {"token_candidates": 0},
    "hot": {"sampling_temperature": 2.0},
    "hot-whole": {"sampling_temperature": 3.0, "token_candidates": 0},
    "hot-whole-half": {"sampling_temperature": 3.0, "token_candidates": 0, "mask_rate": 0.5},
    "hot-whole-frozen": {"sampling_temperature": 3.0, "token_candidates": 0, "generator_steps": 0},
    "free": {"anchor_weight": 0.0, "generator_learning_rate": 5.0e-4, "generator_steps": 50, "gumbel_end": 1.0},
    "free-whole": {
        "anchor_weight": 0.0,
        "generator_learning_rate": 5.0e-4,
        "generator_steps": 50,
        "gumbel_end": 1.0,
        "sampling_temperature": 3.0,
        "token_candidates": 0,
    },
    "ranks": {"adversary": "candidates", "row_candidates": 2},
    "any-row": {"hard_share": 1.0},
    "any-row-quarter": {"hard_share": 1.0, "fresh_share": 0.25},  # the default before
    "quarter": {"fresh_share": 0.25},
    "no-anchor": {"anchor_weight": 0.0},
    "strong-anchor": {"anchor_weight": 1.0},
    "no-confidence": {"confidence_weight": 0.0},
    "no-balance": {"balance_weight": 0.0},
    "no-diversity": {"diversity_weight": 0.0},
    "no-replay": {"replay_share": 0.0},
    "half-fresh": {"fresh_share": 0.5, "replay_share": 0.0},
    "more-replay": {"fresh_share": 0.25, "replay_share": 0.5},
}


def setting(task: Task, name: str) -> dict[str, Any]:
    """The options of one of `SETTINGS`, on a quarter of the default's text."""
    pool = POOL_SIZES[len(task.text_columns)] // QUARTER
    return {"perturb": "adversarial", "pool_size": pool, "heldout": 10_000, **SETTINGS[name]}


def described(task: Task, changes: dict[str, Any], seed: int, fingerprint: str | None = None) -> dict[str, Any]:
    """What a kept result says it is: a run's options, and the fingerprint of pools that were handed in."""
    options = {"task": task.name, "seed": seed, **changes}
    options.pop("start_from", None)
    options.pop("optimizer", None)
    if (used := cell_config({"task": task.name, "corpus": [], **changes}).optimizer) != FORMERLY["optimizer"]:
        options["optimizer"] = used
    if begun := start_of(
        task, changes.get("start_from", DistillConfig.start_from), few=changes.get("query_budget") is not None
    ):
        options["start_from"] = begun
    return {"options": options if fingerprint is None else {**options, "pools": fingerprint}}


def measure(
    task: Task,
    changes: dict[str, Any],
    seed: int,
    path: Path,
    data: Path,
    work: Path,
    *,
    pools: Pools | None = None,
) -> dict[str, Any]:
    """One run with `changes` to the embedded default on Wikipedia text, and what it gives on the training rows.

    The result is kept in `path`, and read from there where it was measured with the same options (and, where they are
    handed in, the same pools).
    """
    wanted = described(task, changes, seed, None if pools is None else pools.fingerprint)
    if found := finished(path, wanted):
        return found
    run = work / path.stem
    options = {"task": task.name, "seed": seed, "corpus": wikipedia(data), "output_dir": str(run), **changes}
    config = cell_config(options)
    shutil.rmtree(run, ignore_errors=True)
    metrics = distill(config, pools=pools).metrics
    student = load_classifier(task, str(run / "student"), work)
    there = scores_there(task, config, student, data)
    history = json.loads((run / "history.json").read_text(encoding="utf-8"))
    begun = json.loads((run / "record.json").read_text(encoding="utf-8"))["student"]["start"]
    rounds = [entry for entry in history if "adversarial/divergence" in entry]
    found = {
        **wanted,
        "training_rows": there["accuracy"],
        "majority": there["majority"],
        "agreement_there": there["agreement"],
        **{key: metrics[key] for key in KEPT if key not in ("versions", "zero_shot", "transfer_set")},
        **({"start": begun} if begun else {}),
        "rounds": [rounds[i] for i in sorted({0, len(rounds) // 2, len(rounds) - 1})] if rounds else [],
        "examples": json.loads((run / "adversarial.json").read_text())[-3:] if rounds else [],
    }
    write_text(path, json.dumps(found, indent=1) + "\n")
    shutil.rmtree(run)
    return found


def one_line(name: str, found: dict[str, Any]) -> str:
    """What `measure` found, in one line."""
    return (
        f"{name}: training rows {found['training_rows']:.4f} (majority {found['majority']:.3f}), agreement there "
        f"{found['agreement_there']:.4f}, held out {found['agreement']:.4f}, {found['teacher_queries']:,} queries, "
        f"{found['seconds']['total']:.0f} s"
    )


def main() -> int:
    """Measure the settings that are asked for and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/ and ood/")
    parser.add_argument("--task", default="sst2", choices=list(TASKS))
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/adversarial-screen"), help="folder of the runs")
    arguments = parser.parse_args()
    set_up_logging()
    task = TASKS[arguments.task]
    for name in arguments.settings:
        path = RESULTS / f"{task.name}-{name}-{arguments.seed}.json"
        found = measure(task, setting(task, name), arguments.seed, path, arguments.data, arguments.work)
        print(one_line(path.stem, found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
