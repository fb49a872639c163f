"""SST-2 at 30x: the zero-shot student beside its controls, three seeds each.

Rows: random perturbation on Wikipedia sentences (the claim); the same without perturbation; the embedded
corpus; and the in-domain ceiling, which is the same student, initialisation, number of updates, number of
teacher queries and checkpoint rule on the task's own training text (so it is no zero-shot run, and says so).

Finished cells are kept as JSON in docs/results/sst2; an interrupted table goes on where it stopped, and a cell
is computed anew only when its options or the shipped teacher changed.

    make sst2-table ZSKD_DATA=DIR      DIR/glue/SST-2/{train,dev}.tsv, DIR/ood/{wikitext-2,wikisplit}.txt
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from zskd.cli.options import set_up_logging
from zskd.config import DistillConfig, resolve, to_dict
from zskd.distill import distill
from zskd.tasks import TASKS, read_labelled

RESULTS = Path("docs/results/sst2")
KEPT = (
    "seed", "teacher", "student", "compression", "retention", "retention_above_chance", "agreement",
    "agreement_above_chance", "teacher_queries", "steps", "best_step", "seconds", "zero_shot",
    "transfer_set", "versions",
)  # fmt: skip


def training_text(data: Path, folder: Path) -> Path:
    """The task's training texts as a plain corpus file, for the in-domain ceiling."""
    task = TASKS["sst2"]
    path = folder / "sst2-train.txt"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        rows = read_labelled(task, task.train_file(data / "glue"))
        path.write_text("\n".join(rows.texts[0]) + "\n", encoding="utf-8")
    return path


def conditions(data: Path, work: Path) -> dict[str, dict[str, Any]]:
    """Name -> options on top of ``--config embedded``."""
    wikipedia = [str(data / "ood" / name) for name in ("wikitext-2.txt", "wikisplit.txt")]
    return {
        "wikipedia-random": {"corpus": wikipedia, "perturb": "random"},
        "wikipedia-none": {"corpus": wikipedia, "perturb": "none"},
        "embedded-random": {"perturb": "random"},
        "in-domain": {"corpus": [str(training_text(data, work))], "perturb": "random"},
    }


def cell(name: str, options: dict[str, Any], seed: int, data: Path, work: Path) -> dict[str, Any]:
    """Results of one run, from docs/results where it was already measured with the same options."""
    flags = {"task": "sst2", "seed": seed, "glue_dir": str(data / "glue"), **options}
    config, problems = resolve(DistillConfig, "embedded", flags)
    assert not problems, problems
    adapter = TASKS["sst2"].adapter_path()
    assert adapter is not None
    weights = hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()
    settings = {k: v for k, v in to_dict(config).items() if k not in ("glue_dir", "cache_dir", "output_dir", "resume")}
    settings["corpus"] = [Path(source).name for source in config.corpus]
    path = RESULTS / f"{name}-{seed}.json"
    if path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept["settings"] == settings and kept["adapter"] == weights:
            return kept
    config.output_dir = str(work / f"{name}-{seed}")
    shutil.rmtree(config.output_dir, ignore_errors=True)
    metrics = distill(config, zero_shot=name != "in-domain")
    kept = {"settings": settings, "adapter": weights, **{key: metrics[key] for key in KEPT}}
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return kept


def spread(values: list[float], scale: float = 100.0) -> str:
    """Mean and sample standard deviation, in percent."""
    mean = scale * statistics.mean(values)
    return f"{mean:.1f} ± {scale * statistics.stdev(values):.1f}" if len(values) > 1 else f"{mean:.1f}"


def row(name: str, cells: list[dict[str, Any]]) -> str:
    """One line of the Markdown table."""
    student = [c["student"]["scores"]["glue"]["accuracy"] for c in cells]
    columns = (
        name,
        spread(student),
        spread([c["retention"]["glue"] for c in cells]),
        spread([c["retention_above_chance"]["glue"] for c in cells]),
        spread([c["agreement"] for c in cells]),
        f"{cells[0]['teacher_queries']:,}",
        f"{statistics.mean(c['seconds']['total'] for c in cells):.0f}",
    )
    return "| " + " | ".join(columns) + " |"


def main() -> int:
    """Compute the missing cells and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/ and ood/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="names of conditions; default all")
    parser.add_argument("--work", type=Path, default=Path("runs/sst2-table"), help="folder of the runs")
    arguments = parser.parse_args()
    set_up_logging()
    lines = []
    for name, options in conditions(arguments.data, arguments.work).items():
        if arguments.only and name not in arguments.only:
            continue
        cells = [cell(name, options, seed, arguments.data, arguments.work) for seed in arguments.seeds]
        lines.append(row(name, cells))
        teacher = cells[0]["teacher"]["scores"]["glue"]
        print(lines[-1], flush=True)
    print(
        f"\nSST-2 dev, {teacher['rows']} rows; teacher {teacher['accuracy']:.4f}, majority {teacher['majority']:.4f}; "
        f"student {cells[0]['student']['parameters']:,} parameters, 1/{cells[0]['compression']:.1f}; "
        f"mean ± standard deviation over seeds {arguments.seeds}\n"
    )
    print("| text | SST-2 dev % | kept % | above chance % | agreement % | teacher queries | seconds |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
