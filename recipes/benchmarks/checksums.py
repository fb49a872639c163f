"""What the checksums of cached files cost: seconds of hashing in a warm run, of the seconds until training begins.

The run has 90,000 inputs of two texts from a corpus of distinct lines, as `recipes.benchmarks.memory` makes them, and a
tiny teacher, so that the cache has the size of a real one and all else is as quick as it can be. The first run fills
the cache; the second one, in a process of its own, is measured. The files are in the system's page cache.

    python -m recipes.benchmarks.checksums [--lines 300000] [--inputs 90000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from recipes.benchmarks.common import report
from recipes.benchmarks.memory import LABELS, recombined, tiny_classifier, vocabulary
from zskd.pipeline import distill
from zskd.system.files import sha256_file

BEFORE_TRAINING = ("corpus", "shaping", "teacher", "labelling", "selection", "student")  # phases of a run
WORDS = 4_000


def timed(folder: Path, number: int, inputs: int) -> dict[str, Any]:
    """Run once; the seconds until training, and those of hashing."""
    hashed = {"files": 0, "MB": 0.0, "hashing s": 0.0}

    def measured(path: str | Path) -> str:
        started = time.perf_counter()
        digest = sha256_file(path)
        hashed["hashing s"] += time.perf_counter() - started
        hashed["files"] += 1
        hashed["MB"] += Path(path).stat().st_size / 1e6
        return digest

    with patch("zskd.system.checksums.sha256_file", measured):
        found = distill(
            "embedded",
            task=folder / "task.yaml",
            teacher=folder / "teacher",
            student=str(folder / "student"),
            corpus=folder / "corpus.txt",
            pool_size=inputs,
            max_class_share=1.0,
            max_length=64,
            epochs=20 * 64 / inputs,
            cache_dir=str(folder / "cache"),
            run_dir=folder / f"run-{number}",
        )
    before = sum(found.metrics["seconds"].get(phase, 0.0) for phase in BEFORE_TRAINING)
    return {
        "files": hashed["files"],
        "MB": round(hashed["MB"], 1),
        "hashing s": round(hashed["hashing s"], 3),
        "until training s": round(before, 2),
        "share": round(hashed["hashing s"] / before, 4),
    }


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=300_000, help="of the corpus")
    parser.add_argument("--inputs", type=int, default=90_000, help="pairs that the teacher labels")
    parser.add_argument("--run", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run is not None:
        print(json.dumps(timed(asked.folder, asked.run, asked.inputs)))
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder, words = Path(name), vocabulary(WORDS)
        with (folder / "corpus.txt").open("w", encoding="utf-8") as handle:
            for number, line in enumerate(recombined(words, asked.lines, seed=0), start=1):
                handle.write(f"{line}\n" if number % 5 else f"{line}\n\n")  # passages of five lines
        for model, seed in (("teacher", 0), ("student", 1)):
            tiny_classifier(folder / model, words, seed)
        columns = "text_columns: [text, text_b]\nlabel_column: label\ndev_files: {dev: dev.tsv}\n"
        (folder / "task.yaml").write_text(f"labels: [{', '.join(LABELS)}]\n{columns}", encoding="utf-8")
        command = [sys.executable, "-m", "recipes.benchmarks.checksums", "--folder", name, "--inputs"]
        for number, run in enumerate(("cold", "warm", "warm", "warm")):
            done = subprocess.run(
                [*command, str(asked.inputs), "--run", str(number)], stdout=subprocess.PIPE, text=True, check=True
            )
            rows.append({"run": run, **json.loads(done.stdout.splitlines()[-1])})
    report("checksums", rows, lines=asked.lines, inputs=asked.inputs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
