"""What students lose to a teacher that cannot be distilled, and which objective recovers it, on five topics.

The usual teacher is fine-tuned on labelled prose of five packages (`recipes/topics.py`). Then one teacher for each
weight of ``--undistillable`` is fine-tuned with the same rows and contradicts it. Of every teacher there are students
with the objectives kd, kd-topk with one probability, and hard-label, on Wikipedia text, without labels. Teachers and
students are scored on the labelled dev file, which chooses nothing. Finished cells are kept in docs/results/stress.

    python -m recipes.stress --data DIR --weights 0.04 --seeds 0
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from recipes.kd_anatomy_text import prepare, run_cell, scored, spread
from zskd.cli.parser import set_up_logging
from zskd.config.verbs import FinetuneConfig
from zskd.finetune import finetune
from zskd.system.files import write_text
from zskd.tasks.defaults import with_task_defaults

RESULTS = Path("docs/results/stress")
OBJECTIVES: dict[str, dict[str, Any]] = {"kd": {}, "kd-topk": {"top_k": 1}, "hard-label": {}}
USUAL = "usual"
TASK = "topics5"


def spoilt(base: dict[str, Any], weight: float, temperature: float) -> dict[str, Any]:
    """`base` with a teacher that contradicts the one it has, trained where there is none yet."""
    folder = f"{base['teacher']}-undistillable-{weight:g}-{temperature:g}"
    if not Path(folder).is_dir():
        options = FinetuneConfig(
            task=base["task"], glue_dir=base["glue_dir"], output_dir=folder, epochs=4.0, undistillable=base["teacher"],
            undistillable_weight=weight, undistillable_temperature=temperature,
        )  # fmt: skip
        finetune(with_task_defaults(options))
    return {**base, "teacher": folder}


def table(results: Path) -> str:
    """Accuracy of teachers and students on dev, and what a student lost to that of the usual teacher, in points."""
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(results.rglob("*.json")):
        cell = json.loads(path.read_text(encoding="utf-8"))
        cells.setdefault((path.parent.name, cell["settings"]["objective"]), []).append(cell)
    lines = [
        "| teacher | its accuracy | objective | student | less the usual teacher's | agreement | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, objective), own in cells.items():
        accuracy = [scored(cell)["accuracy"] for cell in own]
        usual = [scored(cell)["accuracy"] for cell in cells.get((USUAL, objective), [])]
        less = f"{100 * (sum(accuracy) / len(accuracy) - sum(usual) / len(usual)):+.1f}" if usual else ""
        teacher = 100 * scored(own[0], "teacher")["accuracy"]
        agreement = spread([cell["agreement"] for cell in own])
        lines.append(
            f"| {name} | {teacher:.1f} | {objective} | {spread(accuracy)} | {less} | {agreement} | {len(own)} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure the missing cells, then write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ood/")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.04, 0.1])
    parser.add_argument("--temperature", type=float, default=4.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--pool-size", type=int, default=24_000, help="inputs in the transfer pool")
    parser.add_argument("--rows", type=int, default=400, help="labelled rows of each topic class")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=Path("runs/stress"), help="folder of the runs and teachers")
    given = parser.parse_args()
    set_up_logging()
    usual = prepare(TASK, given.data, given.work, given.rows)
    teachers = {USUAL: usual}
    for weight in given.weights:
        teachers[f"weight-{weight:g}-at-{given.temperature:g}"] = spoilt(usual, weight, given.temperature)
    for name, base in teachers.items():
        for seed in given.seeds:
            for objective, more in OBJECTIVES.items():
                options = {
                    "objective": objective,
                    "seed": seed,
                    "pool_seed": 0,
                    "temperature": 1.0,
                    "heldout": 2_000,
                    **more,
                }
                options |= {"pool_size": given.pool_size, "corpus": [str(given.data / "ood" / "wikitext-2.txt")]}
                cell = run_cell(TASK, base, options, given.results / name, given.work)
                print(f"{name} {objective} {seed}: {scored(cell)['accuracy']:.4f}", flush=True)
    write_text(given.results / "table.md", table(given.results))
    print(table(given.results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
