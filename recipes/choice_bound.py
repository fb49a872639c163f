"""What could any choice of rows give? A bound for every adversary that looks for rows where student and teacher differ.

A student learns from half as many inputs as the default has. The rest of its inputs are then chosen from a much larger
pool, all of which the teacher has labelled, so that the choice knows what no adversary may know without asking: how far
the two differ on every row. A new student learns from both halves, as long as the default's. Choices:

    random      any rows: the control
    farthest    the rows with the largest difference of logits
    far         rows drawn in proportion to the squared difference
    unsure      rows drawn in favour of those that the student is unsure of
    confident   rows drawn in proportion to the teacher's margin
    spread      rows drawn so that they are spread over the kinds of inputs: clusters of the sentence encoder's
                directions, or for two texts cells of common words and similarity, each as often
    everything  all inputs of the large pool for as many updates: not a choice, but what more text would give

Scored like `adversarial_screen.py`, on rows of the task's TRAINING file. Finished runs are kept in
docs/results/adversarial.

    python -m recipes.choice_bound --data DIR --task sst2
    python -m recipes.choice_bound --data DIR --task sst2 --size 2000 --candidates 40000 --epochs 60
"""

from __future__ import annotations

import argparse
import functools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from recipes.adversarial_screen import RESULTS, described, measure, one_line
from recipes.answers import teacher_answers
from recipes.cells import finished, wikipedia
from zskd.cli.parser import set_up_logging
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import cache_root, resolve
from zskd.models.sentence_encoder import SentenceEncoder, embedded_encoder
from zskd.pipeline import distill
from zskd.system.seeds import Stream, generator
from zskd.tasks.defaults import POOL_SIZES, input_length, with_task_defaults
from zskd.tasks.task import TASKS, Task
from zskd.teacher.classifier import load_classifier
from zskd.text.corpus import build_corpus
from zskd.text.shaping import Pools, build_pools, text_columns
from zskd.text.sources import find_sources
from zskd.transfer.pair_grid import COSINES, pair_measures, places_of

CHOICES = ("random", "farthest", "far", "unsure", "confident", "spread", "everything")
LARGER = 8 / 3  # the large pool, in pools of the default's size
CLUSTERS = 200
SMOOTH = 0.3  # logits; a student this sure is half as likely to be drawn as one that wavers


def margins(logits: np.ndarray) -> np.ndarray:
    """How far the highest logit of each row is above the next, ``(rows,)``."""
    ordered = np.sort(logits, axis=1)
    return ordered[:, -1] - ordered[:, -2]


def weights(choice: str, teacher: np.ndarray, student: np.ndarray, kinds: np.ndarray | None = None) -> np.ndarray:
    """How much a choice wants each row, ``(rows,)`` above 0, from both models' logits ``(rows, num_labels)``.

    Args:
        kinds: a number for each row's kind, ``(rows,)``, for ``spread``.
    """
    centred = [logits - logits.mean(axis=1, keepdims=True) for logits in (teacher, student)]
    distance = np.linalg.norm(centred[0] - centred[1], axis=1) + 1e-6
    if choice in ("far", "farthest"):
        return distance**2
    if choice == "unsure":
        return 1 / (margins(student) + SMOOTH)
    if choice == "confident":
        return margins(teacher) + 1e-6
    if kinds is not None:
        return 1 / np.bincount(kinds)[kinds]
    return np.ones(len(teacher))


def kinds_of(texts: tuple[list[str], ...], encoder: SentenceEncoder) -> np.ndarray:
    """A number for the kind of each input, ``(rows,)``, from its text alone."""
    if len(texts) == 2:
        overlaps, cosines = places_of(*pair_measures(*texts, encoder))
        return overlaps * len(COSINES) + cosines
    directions = encoder.texts(texts[0], "encoding inputs")
    return MiniBatchKMeans(CLUSTERS, random_state=0, n_init=3).fit_predict(directions)


def choose(
    choice: str,
    teacher: np.ndarray,
    student: np.ndarray,
    count: int,
    rng: np.random.Generator,
    kinds: np.ndarray | None = None,
) -> np.ndarray:
    """`count` different rows: the best for ``farthest``, else drawn in proportion to `weights`."""
    keys = np.log(weights(choice, teacher, student, kinds))
    if choice != "farthest":
        keys += rng.gumbel(size=len(keys))  # the largest perturbed logarithms are a draw without replacement
    return np.argsort(-keys, kind="stable")[:count]


class Bound:
    """The large pool of a task with both models' logits, and the runs that take a part of it.

    Args:
        size: inputs that a run learns from; None for as many as `distill` has.
        candidates: inputs of the large pool; None for `LARGER` times as many.
        changes: further options of the runs.
    """

    def __init__(
        self,
        task: Task,
        size: int | None,
        candidates: int | None,
        seed: int,
        data: Path,
        work: Path,
        changes: dict[str, Any],
    ) -> None:
        self.task, self.seed, self.data, self.work, self.changes = task, seed, data, work, changes
        self.size = size or POOL_SIZES[len(task.text_columns)]
        self.name = f"choice-{task.name}" + (f"-{size}" if size else "")
        corpus = wikipedia(data)
        options = {"task": task.name, "seed": seed, "corpus": corpus}
        self.config = with_task_defaults(resolve(DistillConfig, "embedded", options)[0])
        self.config.pool_size = self.size
        self.config = replace(self.config, **changes)
        cache = cache_root(None)
        self.pools = build_pools(
            build_corpus(find_sources(corpus), 1.0, cache),
            inputs=task.inputs,
            size=candidates or int(LARGER * self.size),
            heldout=self.config.heldout or 0,
            perturb="random",
            seed=seed,
            cache=cache,
        )
        order = generator(Stream.RECIPES, "choice", "half", seed).permutation(len(self.pools.transfer))
        half = self.size // 2
        self.first, self.others = np.sort(order[:half]), np.sort(order[half:])

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
        run = self.work / f"{self.name}-half-{self.seed}"
        distill(replace(self.config, output_dir=str(run), resume=run.exists()), pools=self.part("half", self.first))
        student = load_classifier(self.task, str(run / "student"), cache)
        others = self.pools.transfer.select(self.others)
        texts = tuple(others[name][:] for name in text_columns(others))
        answers = student.logits(texts, max_length=length)
        return teacher[self.others], answers

    def run(self, choice: str) -> dict[str, Any]:
        """Train on a choice and score it."""
        changes: dict[str, Any] = {"pool_size": self.size, **self.changes}
        if choice == "everything":
            changes["epochs"] = (self.config.epochs or 0.0) * self.size / len(self.pools.transfer)
        path = RESULTS / f"{self.name}-{choice}-{self.seed}.json"
        # To choose rows takes both models' answers; not where there is nothing to do.
        if found := finished(path, described(self.task, changes, self.seed, self._fingerprint(choice))):
            return found
        rows = np.arange(len(self.pools.transfer))
        if choice != "everything":
            rng = generator(Stream.RECIPES, "choice", "others", self.seed)
            kinds = self._kinds() if choice == "spread" else None
            chosen = choose(choice, *self.logits, self.size - len(self.first), rng, kinds)
            rows = np.sort(np.concatenate([self.first, self.others[chosen]]))
        return measure(self.task, changes, self.seed, path, self.data, self.work, pools=self.part(choice, rows))

    def _kinds(self) -> np.ndarray:
        others = self.pools.transfer.select(self.others)
        return kinds_of(tuple(others[name][:] for name in text_columns(others)), embedded_encoder(cache_root(None)))


def main() -> int:
    """Measure the choices that are asked for and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/ and ood/")
    parser.add_argument("--task", default="sst2", choices=list(TASKS))
    parser.add_argument("--choices", nargs="+", default=list(CHOICES), choices=CHOICES)
    parser.add_argument("--size", type=int, help="inputs to learn from; default: as many as distill has")
    parser.add_argument("--candidates", type=int, help=f"inputs to choose from; default: {LARGER:.2f} times as many")
    parser.add_argument("--epochs", type=float, help="passes over the inputs; default: as distill")
    parser.add_argument("--start-from", help="as for distill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/choice-bound"), help="folder of the runs")
    arguments = parser.parse_args()
    set_up_logging()
    task = TASKS[arguments.task]
    changes = {name: getattr(arguments, name) for name in ("epochs", "start_from") if getattr(arguments, name)}
    bound = Bound(task, arguments.size, arguments.candidates, arguments.seed, arguments.data, arguments.work, changes)
    for choice in arguments.choices:
        print(one_line(f"{task.name} {choice}", bound.run(choice)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
