"""What could any choice of rows give? A bound for every adversary that looks for rows where student and teacher differ.

A student learns from half as many inputs as the default has. The rest of its inputs are then chosen from a much larger
pool, all of which the teacher has labelled, so that the choice knows what no adversary may know without asking: how far
the two differ on every row. A new student learns from both halves, as long as the default's. Choices:

    random      any rows: the control
    farthest    the rows with the largest difference of logits
    far         rows drawn in proportion to the squared difference
    unsure      rows drawn in favour of those that the student is unsure of
    confident   rows drawn in proportion to the teacher's margin
    everything  all inputs of the large pool for as many updates: not a choice, but what more text would give

Scored like `adversarial_screen.py`, on rows of the task's TRAINING file. Finished runs are kept in
docs/results/adversarial.

    python -m recipes.choice_bound --data DIR --task sst2
"""

from __future__ import annotations

import argparse
import functools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recipes.adversarial_screen import RESULTS, described, measure, one_line
from recipes.answers import teacher_answers
from recipes.cells import finished, wikipedia
from zskd.cli.parser import set_up_logging
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import cache_root, resolve
from zskd.pipeline import distill
from zskd.system.seeds import Stream, generator
from zskd.tasks.defaults import POOL_SIZES, input_length, with_task_defaults
from zskd.tasks.task import TASKS, Task
from zskd.teacher.classifier import load_classifier
from zskd.text.corpus import build_corpus
from zskd.text.shaping import Pools, build_pools, text_columns
from zskd.text.sources import find_sources

CHOICES = ("random", "farthest", "far", "unsure", "confident", "everything")
LARGER = 8 / 3  # the large pool, in pools of the default's size
SMOOTH = 0.3  # logits; a student this sure is half as likely to be drawn as one that wavers


def margins(logits: np.ndarray) -> np.ndarray:
    """How far the highest logit of each row is above the next, ``(rows,)``."""
    ordered = np.sort(logits, axis=1)
    return ordered[:, -1] - ordered[:, -2]


def weights(choice: str, teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    """How much a choice wants each row, ``(rows,)`` above 0, from both models' logits ``(rows, num_labels)``."""
    centred = [logits - logits.mean(axis=1, keepdims=True) for logits in (teacher, student)]
    distance = np.linalg.norm(centred[0] - centred[1], axis=1) + 1e-6
    if choice in ("far", "farthest"):
        return distance**2
    if choice == "unsure":
        return 1 / (margins(student) + SMOOTH)
    if choice == "confident":
        return margins(teacher) + 1e-6
    return np.ones(len(teacher))


def choose(choice: str, teacher: np.ndarray, student: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` different rows: the best for ``farthest``, else drawn in proportion to `weights`."""
    keys = np.log(weights(choice, teacher, student))
    if choice != "farthest":
        keys += rng.gumbel(size=len(keys))  # the largest perturbed logarithms are a draw without replacement
    return np.argsort(-keys, kind="stable")[:count]


class Bound:
    """The large pool of a task with both models' logits, and the runs that take a part of it.

    Args:
        size: inputs that the default would have.
    """

    def __init__(self, task: Task, size: int, seed: int, data: Path, work: Path) -> None:
        self.task, self.seed, self.size, self.data, self.work = task, seed, size, data, work
        corpus = wikipedia(data)
        options = {"task": task.name, "seed": seed, "corpus": corpus}
        self.config = with_task_defaults(resolve(DistillConfig, "embedded", options)[0])
        self.config.pool_size = size
        cache = cache_root(None)
        self.pools = build_pools(
            build_corpus(find_sources(corpus), 1.0, cache),
            inputs=task.inputs,
            size=int(LARGER * size),
            heldout=self.config.heldout,
            perturb="random",
            seed=seed,
            cache=cache,
        )
        order = generator(Stream.RECIPES, "choice", "half", seed).permutation(len(self.pools.transfer))
        self.first, self.others = np.sort(order[: size // 2]), np.sort(order[size // 2 :])

    def part(self, name: str, rows: np.ndarray) -> Pools:
        """The pools with some rows of the large one to learn from."""
        return replace(self.pools, transfer=self.pools.transfer.select(rows), fingerprint=self._fingerprint(name))

    def _fingerprint(self, name: str) -> str:
        return f"{self.pools.fingerprint}-{name}"

    @functools.cached_property
    def logits(self) -> tuple[np.ndarray, np.ndarray]:
        """Teacher's and half-trained student's logits of the large pool's other rows, ``(rows, num_labels)`` each."""
        cache, length = cache_root(None), input_length(self.config)
        teacher = teacher_answers(self.task, self.config, self.pools.transfer, "teacher labels the large pool")
        run = self.work / f"choice-{self.task.name}-half-{self.seed}"
        distill(replace(self.config, output_dir=str(run), resume=run.exists()), pools=self.part("half", self.first))
        student = load_classifier(self.task, str(run / "student"), cache)
        others = self.pools.transfer.select(self.others)
        texts = tuple(others[name][:] for name in text_columns(others))
        answers = student.logits(texts, max_length=length)
        return teacher[self.others], answers

    def run(self, choice: str) -> dict[str, Any]:
        """Train on a choice and score it."""
        changes: dict[str, Any] = {"pool_size": self.size}
        if choice == "everything":
            changes["epochs"] = self.config.epochs / LARGER
        path = RESULTS / f"choice-{self.task.name}-{choice}-{self.seed}.json"
        # To choose rows takes both models' answers; not where there is nothing to do.
        if found := finished(path, described(self.task, changes, self.seed, self._fingerprint(choice))):
            return found
        rows = np.arange(len(self.pools.transfer))
        if choice != "everything":
            rng = generator(Stream.RECIPES, "choice", "others", self.seed)
            chosen = choose(choice, *self.logits, self.size - len(self.first), rng)
            rows = np.sort(np.concatenate([self.first, self.others[chosen]]))
        return measure(self.task, changes, self.seed, path, self.data, self.work, pools=self.part(choice, rows))


def main() -> int:
    """Measure the choices that are asked for and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/ and ood/")
    parser.add_argument("--task", default="sst2", choices=list(TASKS))
    parser.add_argument("--choices", nargs="+", default=list(CHOICES), choices=CHOICES)
    parser.add_argument("--size", type=int, help="inputs to learn from; default: as many as distill has")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/choice-bound"), help="folder of the runs")
    arguments = parser.parse_args()
    set_up_logging()
    task = TASKS[arguments.task]
    size = arguments.size or POOL_SIZES[len(task.text_columns)]
    bound = Bound(task, size, arguments.seed, arguments.data, arguments.work)
    for choice in arguments.choices:
        print(one_line(f"{task.name} {choice}", bound.run(choice)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
