"""GLUE at 30x: the zero-shot student of every task beside its controls.

Conditions, at equal updates, teacher queries and checkpoint rule (queries by inputs; the column "queries" has what the
teacher was asked for, once for inputs of a pool that are the same):
    random      random perturbation of Wikipedia text: what zskd claims
    none        the same text unperturbed
    in-domain   the ceiling: the task's own training inputs and random perturbations of them (no zero-shot run)
    embedded    random perturbation of the documentation prose on this machine (only with --conditions)
    adversarial --perturb adversarial as it is by default, for as many queries (only with --conditions)

Finished cells are kept as JSON in docs/results/glue; an interrupted table goes on where it stopped, and a cell is
computed anew only when its options, its text or the shipped teacher changed. The table is written beside them as
Markdown and CSV. With --quarter every run has a quarter of the text and of the updates, and more held-out text
(docs/results/glue-quarter). With --pool-seed all seeds have the inputs of one (docs/results/glue-one-pool). --config
names another packaged configuration (docs/results/glue-CONFIG).

    make glue-table ZSKD_DATA=DIR      DIR/glue/<TASK>/{train,dev}.tsv, DIR/ood/{wikitext-2,wikisplit}.txt
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recipes.adversarial_screen import QUARTER
from recipes.cells import Cell, bootstrap_draws, cell_config, interval, run_cell, unpack, wikipedia
from recipes.in_domain import in_domain_pools
from zskd.cli.parser import set_up_logging
from zskd.metrics.scores import above_chance
from zskd.system.files import write_text
from zskd.tasks.task import TASKS

RESULTS = Path("docs/results")
CONDITIONS = ("random", "none", "in-domain", "embedded", "adversarial")
HELDOUT = 12_000  # texts of a run with a quarter of the text: one half chooses the checkpoint, one reports agreement


def results_folder(config: str, *, quarter: bool, one_pool: bool) -> Path:
    """Where the cells of a table are kept."""
    parts = ["glue"]
    if config != "embedded":
        parts.append(config)
    return RESULTS / "-".join(parts + ["quarter"] * quarter + ["one-pool"] * one_pool)


def cell_name(task: str, condition: str, seed: int, compression: float) -> str:
    """File name of a cell's result, without its ending."""
    return f"{task}-{condition}-{seed}" + (f"-{compression:g}x" if compression != 30 else "")


def cell(
    task: str,
    condition: str,
    seed: int,
    compression: float,
    data: Path,
    work: Path,
    parts: int = 1,
    config: str = "embedded",
) -> Cell:
    """The run behind one condition of one task, on the configuration's text divided by `parts`."""
    options: dict[str, Any] = {"task": task, "seed": seed, "corpus": wikipedia(data), "compression": compression}
    size = cell_config({"task": task}, config).pool_size
    assert size is not None
    size //= parts
    if parts > 1:
        options |= {"pool_size": size, "heldout": HELDOUT}
    pools = None
    if condition == "embedded":
        del options["corpus"]
    elif condition == "none":
        options["perturb"] = "none"
    elif condition == "adversarial":
        options["perturb"] = "adversarial"
    elif condition == "in-domain":
        pools = in_domain_pools(TASKS[task], data / "glue", work / "pools" / f"{task}-{seed}", size=size, seed=seed)
    return Cell(cell_name(task, condition, seed, compression), options, pools, config)


def spread(values: list[float | None]) -> str:
    """Mean and sample standard deviation, in percent."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    return f"{statistics.mean(known):.1f}" + (f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else "")


def table_row(task: str, condition: str, cells: list[dict[str, Any]]) -> dict[str, str]:
    """One line of the table, as text."""
    teacher = cells[0]["teacher"]["scores"]["glue"]
    scores = [c["student"]["scores"]["glue"] for c in cells]
    return {
        "task": task,
        "text": condition,
        "majority": f"{100 * teacher['majority']:.1f}",
        "teacher": f"{100 * teacher['accuracy']:.1f}",
        "student": spread([s["accuracy"] for s in scores]),
        "student F1": spread([s.get("f1") for s in scores]),
        "kept": spread([c["retention"]["glue"] for c in cells]),
        "above chance": spread([c["retention_above_chance"]["glue"] for c in cells]),
        "agreement": spread([c["agreement"] for c in cells]),
        "on news": spread([c.get("news", {}).get("agreement") for c in cells]),
        "on training rows": spread([c.get("training", {}).get("agreement") for c in cells]),
        "parameters": f"{cells[0]['student']['parameters']:,}",
        "compression": f"{cells[0]['compression']:.1f}",
        "queries": f"{cells[0]['teacher_queries']:,}",
        "minutes": f"{statistics.mean(c['seconds']['total'] for c in cells) / 60:.1f}",
        "seeds": str(len(cells)),
    }


Cells = list[dict[str, Any]]


def paired(left: Cells, right: Cells, answers: Callable[[dict[str, Any]], np.ndarray]) -> list[list[np.ndarray]]:
    """What two conditions have right, ``(rows,)`` for each of the seeds that both have; empty where there is none."""
    shared = sorted({c["seed"] for c in left} & {c["seed"] for c in right})
    return [[answers(next(c for c in side if c["seed"] == seed)) for seed in shared] for side in (left, right)]


def on_dev(cell: dict[str, Any]) -> np.ndarray:
    """Which rows of the dev file a cell's student has right."""
    return unpack(cell["correct"], cell["student"]["scores"]["glue"]["rows"])


def on_news(cell: dict[str, Any]) -> np.ndarray:
    """On which texts made of news its student answers as the teacher does."""
    return unpack(cell["news"]["same"], cell["news"]["texts"])


def differences(results: dict[tuple[str, str], Cells]) -> list[str]:
    """What perturbation adds to plain text, and the generator to random perturbation: per task and on average.

    Accuracy on dev, and agreement with the teacher on news where both sides have it, with paired bootstrap intervals.
    """
    lines = []
    for names in (("random", "none"), ("adversarial", "random")):
        for measure, answers in (("", on_dev), (" (agreement on news)", on_news)):
            means, drawn = [], []
            for task in dict.fromkeys(task for task, _ in results):
                sides = [results.get((task, name), []) for name in names]
                if answers is on_news:
                    sides = [[c for c in side if "news" in c] for side in sides]
                left, right = paired(sides[0], sides[1], answers)
                if not left:
                    continue
                drawn.append(bootstrap_draws(left, right))
                means.append(float(np.mean(left) - np.mean(right)))
                lines.append(
                    f"- {task}: {names[0]} minus {names[1]}{measure} {_with_interval(means[-1], drawn[-1])} "
                    f"(paired bootstrap over {len(left[0])} rows and {len(left)} seeds)"
                )
            if len(means) > 1:
                mean = _with_interval(statistics.mean(means), np.mean(drawn, axis=0))
                lines.append(f"- mean over {len(means)} tasks: {names[0]} minus {names[1]}{measure} {mean}")
    return lines


def _with_interval(mean: float, drawn: np.ndarray) -> str:
    low, high = interval(drawn)
    return f"{100 * mean:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"


def mean_above_chance(results: dict[tuple[str, str], Cells], condition: str) -> tuple[float, np.ndarray] | None:
    """Mean over tasks of the score above chance; None unless all six tasks are there, with a teacher above chance.

    Returns:
        The mean, and the same resampled over seeds and rows ``(draws,)``, for `interval`. The scores of teacher and
        majority class are taken as they are.
    """
    values, drawn = [], []
    for task in TASKS:
        cells = results.get((task, condition), [])
        if not cells:
            return None
        teacher, right = cells[0]["teacher"]["scores"]["glue"], [on_dev(c) for c in cells]
        value = above_chance(float(np.mean(right)), teacher["majority"], teacher["accuracy"])
        if value is None:
            return None
        values.append(value)
        chance = [np.full(len(rows), teacher["majority"]) for rows in right]
        drawn.append(bootstrap_draws(right, chance) / (teacher["accuracy"] - teacher["majority"]))
    return statistics.mean(values), np.mean(drawn, axis=0)


def write_table(results: dict[tuple[str, str], list[dict[str, Any]]], stem: Path) -> str:
    """Write the table as Markdown and CSV; returns the Markdown."""
    rows = [table_row(task, condition, cells) for (task, condition), cells in results.items()]
    header = list(rows[0])
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row.values()) + " |" for row in rows]
    lines += ["", "Percent of the dev file, mean ± standard deviation over seeds.", "", *differences(results)]
    for condition in CONDITIONS:
        if (found := mean_above_chance(results, condition)) is not None:
            low, high = interval(found[1])
            lines.append(
                f"- mean above chance over six tasks, {condition}: {100 * found[0]:.1f} %, 95 % interval "
                f"{100 * low:.1f} to {100 * high:.1f} (bootstrap over rows and seeds)"
            )
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, header)
    writer.writeheader()
    writer.writerows(rows)
    markdown = "\n".join(lines) + "\n"
    write_text(stem.with_suffix(".md"), markdown)
    write_text(stem.with_suffix(".csv"), buffer.getvalue())
    return markdown


def main() -> int:
    """Compute the missing cells, then write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/ and ood/")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--conditions", nargs="+", default=["random", "none", "in-domain"], choices=CONDITIONS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--compression", type=float, default=30.0)
    parser.add_argument("--quarter", action="store_true", help="runs with a quarter of the text and of the updates")
    parser.add_argument("--config", default="embedded", help="packaged configuration, in a folder of its own")
    parser.add_argument("--pool-seed", type=int, help="one pool for all seeds, so that the teacher is asked once")
    parser.add_argument("--finished", action="store_true", help="only write the table of the cells that are there")
    parser.add_argument("--work", type=Path, default=Path("runs/glue-table"), help="folder of the runs")
    parser.add_argument("--keep", action="store_true", help="keep the run folders of cells that are measured now")
    arguments = parser.parse_args()
    set_up_logging()
    parts = QUARTER if arguments.quarter else 1
    folder = results_folder(arguments.config, quarter=arguments.quarter, one_pool=arguments.pool_seed is not None)
    results: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in arguments.seeds:
        for task in arguments.tasks:
            for condition in arguments.conditions:
                name = cell_name(task, condition, seed, arguments.compression)
                if arguments.finished:
                    path = folder / f"{name}.json"
                    if not path.is_file():
                        continue
                    found = json.loads(path.read_text(encoding="utf-8"))
                else:
                    made = cell(
                        task, condition, seed, arguments.compression, arguments.data, arguments.work, parts,
                        arguments.config,
                    )  # fmt: skip
                    if arguments.pool_seed is not None:
                        made.options["pool_seed"] = arguments.pool_seed
                    found = run_cell(made, arguments.data, folder, arguments.work, keep=arguments.keep)
                results.setdefault((task, condition), []).append(found)
                print(f"{name}: {found['student']['scores']['glue']['accuracy']:.4f}", flush=True)
    if not results:
        print(f"no finished cell in {folder}")
        return 1
    name = "table" + (f"-{arguments.compression:g}x" if arguments.compression != 30 else "")
    if set(arguments.tasks) != set(TASKS):
        name += "-" + "-".join(arguments.tasks)
    print(write_table(results, folder / name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
