"""Students of few teacher queries: which settings, and which inputs are worth asking for? Judged without the dev file.

Every run keeps to ``--query-budget``, with the packaged teacher and Wikipedia text. It is scored by accuracy on rows of
the TRAINING file, and by agreement with the teacher there and on held-out text. Finished runs are kept in
docs/results/few-queries; a call that was ended goes on.

    python -m recipes.few_queries --data DIR --tasks sst2 qqp --budgets 2000 5000
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
from zskd.tasks.task import TASKS

RESULTS = Path("docs/results/few-queries")
EPOCHS = (2, 8, 24, 60)

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    **{f"epochs-{number}": {"epochs": float(number)} for number in EPOCHS},
    **{f"epochs-{number}-scratch": {"epochs": float(number), "start_from": "none"} for number in EPOCHS},
    "epochs-2-unperturbed": {"epochs": 2.0, "perturb": "none"},
}


def setting(name: str, budget: int) -> dict[str, Any]:
    """The options of a run."""
    return {"query_budget": budget, **SETTINGS[name]}


def table(folder: Path) -> str:
    """What is there, as a Markdown table."""
    lines = [
        "| run | training rows | agreement there | held out | queries | steps | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        lines.append(
            f"| {path.stem} | {100 * run['training_rows']:.1f} | {100 * run['agreement_there']:.1f} | "
            f"{100 * run['agreement']:.1f} | {run['teacher_queries']:,} | {run['steps']:,} | "
            f"{run['seconds']['total']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure what is asked for, print each run, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/ and ood/")
    parser.add_argument("--tasks", nargs="+", default=["sst2", "qqp"], choices=list(TASKS))
    parser.add_argument("--budgets", nargs="+", type=int, default=[2_000, 5_000])
    parser.add_argument("--names", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--work", type=Path, default=Path("runs/few-queries"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    set_up_logging()
    for task, budget, seed, name in itertools.product(given.tasks, given.budgets, given.seeds, given.names):
        path = given.results / f"{task}-{budget}-{name}-{seed}.json"
        found = measure(TASKS[task], setting(name, budget), seed, path, given.data, given.work)
        print(one_line(path.stem, found), flush=True)
    write_text(given.results / "table.md", table(given.results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
