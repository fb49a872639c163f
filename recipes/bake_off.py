"""Which published method makes a better student, at equal teacher queries and updates? Judged without the dev file.

Every run has a quarter of the default's text. A method's queries are among them, so its transfer set is smaller than
that of plain distillation (`plain`). `more` is plain distillation that asks for as much more as a method with ascent
works the teacher: a backward pass counts as two forward passes. Scored as in `screen.py`: accuracy on rows of the
task's TRAINING file, and agreement with the teacher there and on held-out text. Finished runs are kept in
docs/results/bake-off; a call that was ended goes on.

    python -m recipes.bake_off --data DIR --tasks sst2 qqp --seeds 0
    python -m recipes.bake_off --data DIR --names plain anchors backward-pass --dry-run
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from recipes.adversarial_screen import measure, one_line
from zskd.cli.parser import set_up_logging
from zskd.system.files import write_text
from zskd.tasks.defaults import POOL_SIZES
from zskd.tasks.task import TASKS, Task

RESULTS = Path("docs/results/bake-off")
SCHEDULES = Path("recipes/schedules")
QUARTER = 4
MORE = 0.25  # of the queries: an eighth of the rows, a backward pass each, in both of two epochs
MINUTES = 6  # of a run on two idle cores, the slowest methods included

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "more": {},
    "adversarial": {"perturb": "adversarial"},
    "selection": {"method": ["selection"]},
    "selection-keep-half": {"method": ["selection"], "selection_keep": 0.5},
    "selection-classifier": {"method": ["selection"], "selection_keep": 1.0, "selection_contrast": 0.0},
    "selection-choice": {"method": ["selection"], "selection_classifier": "own", "selection_contrast": 0.0},
    "roles": {"method": ["roles"], "roles_schedule": str(SCHEDULES / "light.yaml")},
    "roles-both": {"method": ["roles"], "roles_schedule": str(SCHEDULES / "both.yaml")},
    "uncertainty-mixup": {"method": ["uncertainty-mixup"]},
    "uncertainty-mixup-quarter": {"method": ["uncertainty-mixup"], "mixup_share": 0.25},
    "anchors": {"method": ["anchors"]},
    "anchors-near": {"method": ["anchors"], "anchors_radius": 0.2},
    "anchors-far": {"method": ["anchors"], "anchors_radius": 1.0},
    "backward-pass": {"method": ["backward-pass"]},
    "backward-pass-far": {"method": ["backward-pass"], "backward_radius": 0.3},
    "backward-pass-three": {"method": ["backward-pass"], "backward_steps": 3, "backward_share": 0.0625},
    "inconsistent": {"method": ["inconsistent"]},
    "inconsistent-states": {"method": ["inconsistent"], "inconsistent_weight": 1.0},
    "inconsistent-logits": {"method": ["inconsistent"], "inconsistent_weight": 0.0},
    "feature-prior": {"method": ["feature-prior"]},
    "feature-prior-strong": {"method": ["feature-prior"], "prior_weight": 1.0},
    "messages": {"method": ["messages"]},
    "messages-strong": {
        "method": ["messages"], "messages_reply_weight": 1.0, "messages_agreement_weight": 1.0,
        "messages_state_weight": 1.0,
    },
}  # fmt: skip


def setting(task: Task, name: str) -> dict[str, Any]:
    """The options of a run."""
    pool = POOL_SIZES[len(task.text_columns)] // QUARTER
    return {"pool_size": round(pool * (1 + MORE)) if name == "more" else pool, **SETTINGS[name]}


def table(folder: Path) -> str:
    """What is there, as a Markdown table: differences are to `plain` of the same task and seed."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    lines = [
        "| run | training rows | agreement there | less plain's | held out | queries | milliseconds a step |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, run in found.items():
        task, _, rest = name.partition("-")
        plain = found.get(f"{task}-plain-{rest.rpartition('-')[2]}")
        less = "" if plain is None else f"{100 * (run['agreement_there'] - plain['agreement_there']):+.1f}"
        step = 1000 * run["seconds"]["training"] / run["steps"]
        lines.append(
            f"| {name} | {100 * run['training_rows']:.1f} | {100 * run['agreement_there']:.1f} | {less} | "
            f"{100 * run['agreement']:.1f} | {run['teacher_queries']:,} | {step:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure what is asked for, print each run, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/ and ood/")
    parser.add_argument("--tasks", nargs="+", default=["sst2", "qqp"], choices=list(TASKS))
    parser.add_argument("--names", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--work", type=Path, default=Path("runs/bake-off"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be measured, and about how long it takes"
    )
    given = parser.parse_args()
    wanted = [
        (TASKS[task], name, seed, given.results / f"{task}-{name}-{seed}.json")
        for task, seed, name in itertools.product(given.tasks, given.seeds, given.names)
    ]
    if given.dry_run:
        left = [path.stem for *_, path in wanted if not path.is_file()]
        print("\n".join(left))
        print(
            f"{len(left)} of {len(wanted)} runs are left: about {len(left) * MINUTES / 60:.1f} hours on two idle cores"
        )
        return 0
    set_up_logging()
    for task, name, seed, path in wanted:
        print(one_line(path.stem, measure(task, setting(task, name), seed, path, given.data, given.work)), flush=True)
    write_text(given.results / "table.md", table(given.results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
