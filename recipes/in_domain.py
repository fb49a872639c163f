"""Pools of a task's own training inputs, for the in-domain ceiling. No zero-shot run can use them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from zskd.system.arrow import ROWS, open_arrow, write_arrow
from zskd.system.files import sha256_file
from zskd.system.seeds import Stream, generator
from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import Task
from zskd.text.shaping import TEXT_COLUMNS, Pools
from zskd.text.words import perturb_words, random_words, word_table

HELDOUT = 2_000  # inputs that select, and as many that report; at most a tenth of the file each


def in_domain_pools(task: Task, glue_dir: Path, folder: Path, *, size: int, seed: int) -> Pools:
    """Transfer and held-out pools from a task's training file; its labels are not used.

    The transfer pool holds every remaining training input once, then random perturbations of them (every text of
    an input on its own) up to `size`, so that there are as many inputs as in the zero-shot runs.

    Args:
        size: inputs in the transfer pool.
    """
    texts = read_labelled(task, task.train_file(glue_dir)).texts
    order = generator(Stream.RECIPES, "in-domain", "held out").permutation(len(texts[0]))
    held = min(HELDOUT, len(order) // 10)
    parts = {"select": order[:held], "report": order[held : 2 * held], "transfer": order[2 * held :]}
    names = TEXT_COLUMNS[: len(texts)]
    schema = pa.schema([(name, pa.string()) for name in (*names, "family")])

    def rows(name: str) -> Iterator[tuple[str, ...]]:
        for i in parts[name][:size]:
            yield *(text[i] for text in texts), "training input"
        if name != "transfer":
            return
        rng = generator(Stream.RECIPES, "in-domain", seed)
        table = random_words(*word_table(text[i] for text in texts for i in parts[name]), rng)
        for i in rng.choice(parts[name], size=max(0, size - len(parts[name]))):
            yield *(" ".join(perturb_words(text[i].split() or ["-"], table, rng)) for text in texts), "perturbed"

    def batches(name: str) -> Iterator[pa.RecordBatch]:
        pending = list(rows(name))
        for start in range(0, len(pending), ROWS):
            columns = zip(*pending[start : start + ROWS], strict=True)
            yield pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=schema)

    paths = {name: folder / f"{name}.arrow" for name in parts}
    for name, path in paths.items():
        write_arrow(path, batches(name), schema)
    digest = hashlib.sha256("".join(sha256_file(path) for path in paths.values()).encode())
    return Pools(fingerprint=digest.hexdigest(), **{name: open_arrow(path) for name, path in paths.items()})
