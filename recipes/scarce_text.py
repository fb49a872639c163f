"""Students of little text: what random perturbation and the generator give from 300 sentences to 19,000.

Every run has as many queries as the default, or 40 for each sentence where those are fewer, so that conditions compare.
It is scored by accuracy on rows of the TRAINING file, and by agreement with the teacher there and on held-out text.
Finished runs are kept in docs/results/scarce-text; a call that was ended goes on.

    python -m recipes.scarce_text --data DIR --tasks sst2 qqp --sizes 300 1000
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

from recipes.adversarial_screen import measure, one_line
from recipes.cells import wikipedia
from zskd.cli.parser import set_up_logging
from zskd.config.resolve import cache_root
from zskd.system.files import write_text
from zskd.system.seeds import Stream, generator
from zskd.tasks.task import TASKS
from zskd.text.corpus import build_corpus
from zskd.text.sources import find_sources

RESULTS = Path("docs/results/scarce-text")
SIZES = (300, 1_000, 5_000, 19_000)

SETTINGS: dict[str, dict[str, Any]] = {
    "none": {"perturb": "none"},
    "random": {},
    "adversarial": {"perturb": "adversarial"},
}


def sample(data: Path, size: int, folder: Path) -> Path:
    """A file with so many of the Wikipedia sentences, the same for every run; small ones are parts of larger."""
    corpus = build_corpus(find_sources(wikipedia(data)), 1.0, cache_root(None))
    rows = np.sort(generator(Stream.RECIPES, "scarce text").permutation(corpus.count)[:size])
    path = folder / f"wikipedia-{size}.txt"
    write_text(path, "\n".join(corpus.sentences[rows]["text"]) + "\n")
    return path


def main() -> int:
    """Measure what is asked for and print each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/ and ood/")
    parser.add_argument("--tasks", nargs="+", default=["sst2", "qqp"], choices=list(TASKS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--names", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--epochs", type=float, help="passes over the inputs; default: as distill")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--work", type=Path, default=Path("runs/scarce-text"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    set_up_logging()
    more = {} if given.epochs is None else {"epochs": given.epochs}
    texts = {size: str(sample(given.data, size, given.work)) for size in given.sizes}
    for task, size, seed, name in itertools.product(given.tasks, given.sizes, given.seeds, given.names):
        label = name if given.epochs is None else f"{name}-epochs-{given.epochs:g}"
        path = given.results / f"{task}-{size}-{label}-{seed}.json"
        changes = {"corpus": [texts[size]], **more, **SETTINGS[name]}
        found = measure(TASKS[task], changes, seed, path, given.data, given.work)
        print(one_line(path.stem, found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
