"""The whole way on 5 % of the text with the real backbone; fails unless the student beats the majority class.

make smoke
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from zskd.cli.parser import set_up_logging
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import resolve
from zskd.evaluation.results import table
from zskd.pipeline import distill

RUN = Path("runs/smoke")
LIMIT = 180.0  # seconds on two cores


def main() -> int:
    """Distil, print the table, and compare the student with the probe's majority class."""
    set_up_logging()
    shutil.rmtree(RUN, ignore_errors=True)
    config, problems = resolve(DistillConfig, "smoke", {"task": "sst2", "output_dir": str(RUN)})
    assert not problems, problems
    started = time.perf_counter()
    metrics = distill(config).metrics
    seconds = time.perf_counter() - started
    probe = metrics["student"]["scores"]["probe"]
    print(table(metrics))
    print(f"smoke: {probe['accuracy']:.3f} on the probe (majority {probe['majority']:.3f}) in {seconds:.0f} s")
    if probe["accuracy"] <= probe["majority"]:
        print("smoke: FAILED, the student is not above the majority class")
        return 1
    if seconds > LIMIT:
        print(f"smoke: slower than the {LIMIT:.0f} s aimed for")
    return 0


if __name__ == "__main__":
    sys.exit(main())
