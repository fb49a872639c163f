"""The objectives on text with three, five and twenty classes: students of one teacher, one cell per objective and seed.

    mnli      three classes, the packaged teacher; scored on MNLI's matched dev file
    topics5   which of five packages documentation prose belongs to; the teacher is fine-tuned first
    topics20  the same with twenty packages

The transfer text is Wikipedia's, the runs are zero-shot. Finished cells are kept as JSON in docs/results/anatomy/text;
an interrupted recipe goes on where it stopped, and a cell is measured anew only when its options changed.

    make kd-anatomy-text ZSKD_DATA=DIR      DIR/glue/MNLI/{train,dev_matched}.tsv, DIR/ood/wikitext-2.txt
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from recipes.cells import cell_config, finished, options_of_others
from recipes.topics import FIVE, TWENTY, write_topic_task
from zskd.cli.parser import set_up_logging
from zskd.config.distillation import DistillConfig
from zskd.config.objective_options import OBJECTIVES
from zskd.config.resolve import to_dict
from zskd.config.verbs import FinetuneConfig
from zskd.finetune import finetune
from zskd.pipeline import distill
from zskd.system.files import sha256_file, write_text
from zskd.tasks.defaults import with_task_defaults

RESULTS = Path("docs/results/anatomy/text")
TASKS = {"mnli": (), "topics5": FIVE, "topics20": TWENTY}
KEPT = (
    "seed",
    "teacher",
    "student",
    "agreement",
    "agreement_above_chance",
    "steps",
    "seconds",
    "zero_shot",
    "versions",
)
_FREE = ("glue_dir", "cache_dir", "output_dir", "resume", "task", "teacher")


def prepare(name: str, data: Path, work: Path, rows: int) -> dict[str, Any]:
    """Options that name the task, its teacher and its labelled files; trains the teacher where there is none yet."""
    if not TASKS[name]:
        return {"task": name, "teacher": "embedded", "glue_dir": str(data / "glue")}
    folder, teacher = work / f"{name}-{rows}", work / f"{name}-{rows}-teacher"
    task = folder / f"{name}.yaml"
    if not task.is_file():
        write_topic_task(folder, TASKS[name], rows)
    if not teacher.is_dir():
        options = FinetuneConfig(task=str(task), glue_dir=str(folder), output_dir=str(teacher), epochs=4.0)
        finetune(with_task_defaults(options))
    return {"task": str(task), "teacher": str(teacher), "glue_dir": str(folder)}


def run_cell(name: str, base: dict[str, Any], options: dict[str, Any], folder: Path, work: Path) -> dict[str, Any]:
    """The result of one objective and seed: from `folder` where the settings are the same, else measured now."""
    config = cell_config({**base, **options})
    free = {*_FREE, *options_of_others(config)}
    settings = {key: value for key, value in to_dict(config).items() if key not in free}
    if config.student_precision == DistillConfig.student_precision:  # as before there was the option
        del settings["student_precision"]
    if not config.method:  # likewise
        del settings["method"]
    if config.pool_seed is None:
        del settings["pool_seed"]
    settings["corpus"] = [Path(source).name for source in config.corpus]
    adapter = Path(base["teacher"]) / "adapter_model.safetensors"
    wanted = {
        "task": name,
        "settings": settings,
        "labelled": {path.name: sha256_file(path) for path in sorted(Path(base["glue_dir"]).glob("*.tsv"))},
        "adapter": sha256_file(adapter) if adapter.is_file() else base["teacher"],
    }
    path = folder / f"{name}-{settings['objective'].replace('+', '-')}-{config.seed}.json"
    if kept := finished(path, wanted):
        return kept
    run = work / path.stem
    shutil.rmtree(run, ignore_errors=True)
    config.output_dir = str(run)
    metrics = distill(config).metrics
    kept = {**wanted, **{key: metrics[key] for key in KEPT}}
    kept["teacher"] = {**kept["teacher"], "name": Path(kept["teacher"]["name"]).name}
    write_text(path, json.dumps(kept, indent=1) + "\n")
    shutil.rmtree(run)
    return kept


def scored(cell: dict[str, Any], who: str = "student") -> dict[str, Any]:
    """What a cell's student or teacher got on the labelled rows, not on the probe."""
    return next(scores for name, scores in cell[who]["scores"].items() if name != "probe")


def table(cells: list[dict[str, Any]]) -> str:
    """Accuracy and agreement per task and objective, mean and sample standard deviation over seeds, in percent."""
    lines = ["| task | objective | teacher | student | agreement | seeds |", "|---|---|---|---|---|---|"]
    keys = dict.fromkeys((cell["task"], cell["settings"]["objective"]) for cell in cells)
    for task, objective in keys:
        own = [c for c in cells if (c["task"], c["settings"]["objective"]) == (task, objective)]
        student = spread([scored(c)["accuracy"] for c in own])
        teacher = 100 * scored(own[0], "teacher")["accuracy"]
        agreement = spread([c["agreement"] for c in own])
        lines.append(f"| {task} | {objective} | {teacher:.1f} | {student} | {agreement} | {len(own)} |")
    return "\n".join(lines) + "\n"


# What the paper expects: the left objective's student is better than the right one's.
CLAIMS = (
    ("kd", "hard-label"),
    ("kd-pt", "hard-label"),
    ("kd-sim", "label-smoothing"),
    ("kd", "kd-pt"),
    ("kd", "kd-sim"),
)


def claims(cells: list[dict[str, Any]]) -> str:
    """Per task, how much better one objective is than another in accuracy and agreement, in points, paired by seed."""
    lines = ["| task | claim | accuracy | agreement | |", "|---|---|---|---|---|"]
    known = {(c["task"], c["settings"]["objective"], c["seed"]): c for c in cells}
    for task in dict.fromkeys(c["task"] for c in cells):
        for better, worse in CLAIMS:
            seeds = [s for t, objective, s in known if t == task and objective == better and (t, worse, s) in known]
            if not seeds:
                continue
            pairs = [(known[task, better, seed], known[task, worse, seed]) for seed in seeds]
            accuracy = [scored(a)["accuracy"] - scored(b)["accuracy"] for a, b in pairs]
            agreement = [a["agreement"] - b["agreement"] for a, b in pairs]
            # One standard error of a difference of two shares of the scored rows, were they independent.
            rows = scored(pairs[0][0])["rows"]
            error = (0.5 / rows / len(pairs)) ** 0.5
            mean = statistics.mean(accuracy)
            verdict = "not shown" if abs(mean) < 2 * error else "agrees" if mean > 0 else "disagrees"
            lines.append(f"| {task} | {better} beats {worse} | {spread(accuracy)} | {spread(agreement)} | {verdict} |")
    return "\n".join(lines) + "\n"


def figure(cells: list[dict[str, Any]]) -> Figure:
    """Accuracy of every objective, one panel per task, with a standard error of the scored rows to both sides."""
    tasks = list(dict.fromkeys(c["task"] for c in cells))
    made = Figure(figsize=(4 * len(tasks), 4), layout="constrained")
    for axes, task in zip(made.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        own: dict[str, list[dict[str, Any]]] = {}
        for cell in (c for c in cells if c["task"] == task):
            own.setdefault(cell["settings"]["objective"], []).append(scored(cell))
        for place, name in enumerate(OBJECTIVES):
            if scores := own.get(name):
                mean = statistics.mean(s["accuracy"] for s in scores)
                error = (mean * (1 - mean) / scores[0]["rows"] / len(scores)) ** 0.5
                axes.errorbar(100 * mean, place, xerr=100 * error, fmt="o", color="C0", capsize=3)
        axes.set_yticks(range(len(OBJECTIVES)), OBJECTIVES)
        axes.invert_yaxis()
        axes.set(xlabel="accuracy, %", title=task)
    return made


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation, in percent."""
    mean = f"{100 * statistics.mean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


def main() -> int:
    """Measure the missing cells, then write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/ and ood/")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES), choices=OBJECTIVES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--pool-size", type=int, default=24_000, help="inputs in the transfer pool")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--rows", type=int, default=400, help="labelled rows of each topic class")
    parser.add_argument("--finished", action="store_true", help="only write the table of the cells that are there")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=Path("runs/kd-anatomy"), help="folder of the runs and teachers")
    arguments = parser.parse_args()
    set_up_logging()
    cells: list[dict[str, Any]] = []
    if arguments.finished:
        cells = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(arguments.results.glob("*.json"))]
        arguments.tasks = []
    for name in arguments.tasks:
        base = prepare(name, arguments.data, arguments.work, arguments.rows)
        base["corpus"] = [str(arguments.data / "ood" / "wikitext-2.txt")]
        for seed in arguments.seeds:
            for objective in arguments.objectives:
                options = {"objective": objective, "seed": seed, "temperature": 1.0}
                options |= {"pool_size": arguments.pool_size, "epochs": arguments.epochs, "heldout": 2_000}
                cells.append(run_cell(name, base, options, arguments.results, arguments.work))
                print(f"{name} {objective} {seed}: agreement {cells[-1]['agreement']:.4f}", flush=True)
    text = table(cells) + "\n" + claims(cells)
    write_text(arguments.results / "table.md", text)
    figure(cells).savefig(arguments.results / "accuracy.svg", metadata={"Date": None})
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
