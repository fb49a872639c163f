"""Corpora and labelled files that are malformed, or merely odd: the first are refused in one line, the second read.

The content is made anew for every case: where it is spoilt, how (`recipes.faults.spoilt`), in which format and for
which verb is drawn.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.faults.case import Case, complaints, errors, leftovers
from recipes.faults.commands import run
from recipes.faults.spoilt import (
    BAD_ROWS,
    EITHER,
    FINE,
    GZIPPED,
    PARQUET,
    PLAIN,
    RECORDS,
    TABLES,
    gzipped,
    joined,
    odd_place,
    parquet,
)
from recipes.faults.world import TASK, World
from recipes.tiny import about, prose


@dataclass(frozen=True)
class Plan:
    """What a case does.

    Attributes:
        verb: of `VERBS`.
        form: of the file.
        spoilt: in which way.
        seed: of the place and the bytes.
        skip: with ``--skip-bad-rows``.
    """

    verb: str
    form: str
    spoilt: str
    seed: int
    skip: bool = False

    def write(self, path: Path) -> tuple[int, ...]:
        """Write the file; the exit codes that are right."""
        rng = random.Random(self.seed)
        texts = prose(400, seed=self.seed)
        lines = [text.encode() for text in texts]
        if self.form == "tsv":
            lines = [b"sentence\tlabel", *(f"{text}\t{about(text)}".encode() for text in texts[:160])]
        if self.form == "jsonl":
            lines = [json.dumps({"text": text}).encode() for text in texts]
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.spoilt == "an odd place":
            return odd_place(path, rng, joined(lines))[1]
        if self.form == "txt.gz":
            path.write_bytes(gzipped(lines, rng, self.spoilt))
            return GZIPPED[self.spoilt]
        if self.form == "parquet":
            path.write_bytes(parquet(lines, rng, self.spoilt))
            return PARQUET[self.spoilt]
        spoil, codes = {"txt": PLAIN, "jsonl": RECORDS, "tsv": TABLES}[self.form][self.spoilt]
        path.write_bytes(spoil(lines, rng))
        if self.skip and self.spoilt in (*BAD_ROWS, "no UTF-8"):  # the latter may be in the header
            return FINE if self.spoilt in BAD_ROWS else EITHER
        return codes

    def run(self, world: World, scratch: Path) -> list[str]:
        """Write the file, run the verb, and look at how it ended and what it left."""
        output, cache = scratch / "out", scratch / "cache"
        folder = scratch / "data" / "SST-2" if "glue" in self.verb else scratch / "data"
        path = folder / (
            "train.tsv" if "train" in self.verb else "dev.tsv" if "glue" in self.verb else f"own.{self.form}"
        )
        codes = self.write(path)
        if "glue" in self.verb:
            for other in ("train.tsv", "dev.tsv"):
                if other != path.name:
                    shutil.copyfile(world.glue / "SST-2" / other, folder / other)
        if "distill" in self.verb and "corpus" not in self.verb:
            shutil.copytree(world.cache, cache)
        flag, arguments = self.command(world, path, output, cache)
        more = ["--skip-bad-rows"] if self.skip else []
        done = run(scratch, *arguments, *more)
        found = complaints(done, codes, mentions=path.name) + leftovers(scratch)
        if done.code == 2 and flag and not any(flag in line for line in errors(done)):
            found.append(f"expected an error that names {flag}, found: {errors(done)}")
        if self.verb == "evaluate" and done.code == 0:
            found += [] if json.loads(done.out) else ["no scores"]
        late = self.verb == "distill, glue dev"  # rows of evaluation files are read when the student has been saved
        if done.code == 2 and output.exists() and not late:
            found.append(f"left behind: {sorted(file.name for file in output.iterdir())}")
        if late and done.code == 2 and output.exists():
            found += self.resumed(world, scratch, path, arguments)
        return found

    def resumed(self, world: World, scratch: Path, path: Path, arguments: list[object]) -> list[str]:
        """With a whole file, the run is finished from what was saved."""
        path.unlink()
        shutil.copyfile(world.glue / "SST-2" / "dev.tsv", path)
        return complaints(run(scratch, *arguments, "--resume"), [0])

    def command(self, world: World, path: Path, output: Path, cache: Path) -> tuple[str, list[object]]:
        """The flag that errors have to name, and the command."""
        if self.verb == "evaluate":
            model = world.run("random") / "student"
            return "", ["evaluate", "--model", model, "--task", TASK, "--data", path, "--json", "--cache-dir", cache]
        if self.verb == "diagnose, corpus":
            flags = ["--task", TASK, "--corpus", path, "--texts", 200, "--max-length", 32, "--cache-dir", cache]
            return "--corpus", ["diagnose", world.teacher, *flags]
        if self.verb == "distill, corpus":
            return "--corpus", world.distill("random", output, cache, "--corpus", path, *_SHORT)
        if self.verb == "distill, gold labels":
            return "", world.distill("random", output, cache, "--gold-labels", path, *_SHORT)
        if self.verb == "distill, glue dev":
            return "", world.distill("random", output, cache, "--glue-dir", path.parents[1], *_SHORT)
        arguments = world.finetune(output, cache)
        arguments[arguments.index("--glue-dir") + 1] = path.parents[1]
        return "", arguments


_SHORT = ("--epochs", 0.5, "--checkpoints", 1)
FORMS: dict[str, Any] = {"txt": PLAIN, "jsonl": RECORDS, "txt.gz": GZIPPED, "parquet": PARQUET}
VERBS = {
    "distill, corpus": 5, "diagnose, corpus": 3, "evaluate": 4, "distill, gold labels": 2, "distill, glue dev": 2,
    "finetune, glue train": 2,
}  # fmt: skip


def cases(count: int, rng: random.Random) -> list[Case]:
    """So many different cases."""
    found: dict[str, Case] = {}
    tried: set[tuple[str, str]] = set()
    while len(found) < count:
        verb = rng.choices(list(VERBS), list(VERBS.values()))[0]
        form = rng.choice(list(FORMS)) if "corpus" in verb else "tsv"
        kinds = list(FORMS.get(form, TABLES))
        spoilt = "an odd place" if rng.random() < 0.1 else rng.choice(kinds)
        if (form, spoilt) in tried and rng.random() < 0.8:  # new ones first
            continue
        tried.add((form, spoilt))
        skip = form == "tsv" and rng.random() < 0.25
        plan = Plan(verb, form, spoilt, rng.randrange(10**6), skip)
        name = f"{verb}: {form}, {spoilt}{', bad rows skipped' if skip else ''} ({plan.seed})"
        found[name] = Case(name, plan.run)
    return list(found.values())
