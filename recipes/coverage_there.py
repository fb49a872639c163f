"""What a threshold that was proven on held-out text is worth on the task's own text: rows of the TRAINING file.

python -m recipes.coverage_there RUN --data DIR [--output docs/results/coverage.json]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from recipes.training_rows import training_rows
from zskd.config.resolve import cache_root
from zskd.inference.deferral import coverage_of
from zskd.metrics.coverage import coverage, row_for
from zskd.runs.read import run_config
from zskd.tasks.defaults import input_length, with_task_defaults
from zskd.tasks.task import find_task
from zskd.teacher.load import load_teacher

WANTED = (0.9, 0.95, 0.98)


def main() -> int:
    """Measure a run and print a line for each wanted agreement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/")
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    arguments = parser.parse_args()
    config = run_config(arguments.run)
    assert config is not None, f"{arguments.run} is no run folder"
    config = with_task_defaults(config)
    task, cache = find_task(config.task), cache_root(config.cache_dir)
    texts, _ = training_rows(task, arguments.data / "glue")
    names = (str(Path(arguments.run) / "student"), config.teacher)
    models = (load_teacher(task, name, cache) for name in names)
    student, teacher = (model.logits(texts, max_length=input_length(config)) for model in models)
    there = {row["threshold"]: row for row in coverage(teacher, student)}
    found: list[dict[str, Any]] = []
    table = coverage_of(arguments.run, "RUN")
    for wanted in WANTED:
        row = row_for(table, wanted)
        if row is not None:
            own = there[row["threshold"]]
            found.append({"wanted": wanted, "held_out": row, "training_rows": own})
            shown = "; ".join(
                f"{name}: coverage {one['coverage']:.3f}, agreement {one['agreement']:.3f}"
                for name, one in (("held-out text", row), ("training rows", own))
            )
            print(f"at least {wanted:.2f} (bound {row['bound']:.3f}), confidence {row['threshold']:g}; {shown}")
    if arguments.output:
        content = {"task": task.name, "seed": config.seed, "rows": len(texts[0]), "thresholds": found}
        arguments.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
