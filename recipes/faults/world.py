"""What the cases start from: small models, text, labelled rows, and two finished runs that nothing disturbed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recipes.faults.commands import Done, run, start_function
from recipes.outcomes import sha256
from recipes.tiny import about, make_student, make_teacher, prose, random_bert, save

TASK = "sst2"
LABELS = ("negative", "positive")
OPTIONS = {
    "task": TASK,
    "compression": 2.0,
    "pool_size": 400,
    "heldout": 64,
    "max_length": 32,
    "epochs": 3.0,
    "learning_rate": 0.01,
    "batch_size": 32,
    "checkpoints": 6,
    "logging_steps": 5,
    "precision": "fp32",
    "row_candidates": 3,
    "generator_warmup": 2,
    "generator_steps": 2,
    "student_steps": 8,
    "hub_eval": False,
}
RUNS = ("random", "adversarial")
# Of metrics.json: what differs between two calls that made the same student.
_OF_THE_CALL = ("seconds", "live", "resumed", "latency", "per_second", "milliseconds", "calls", "versions", "machine")


class WorldFailed(Exception):
    """Not even the undisturbed runs end well."""


@dataclass(frozen=True)
class World:
    """Paths of what is healthy. Cases change none of it: they copy what they damage.

    Attributes:
        folder: of all the rest.
    """

    folder: Path

    @property
    def teacher(self) -> Path:
        """A classifier with the labels of `TASK`, as a folder."""
        return self.folder / "teacher"

    @property
    def student(self) -> Path:
        """A smaller classifier with the teacher's vocabulary."""
        return self.folder / "student"

    @property
    def base(self) -> Path:
        """An encoder without a head."""
        return self.folder / "base"

    @property
    def adapter(self) -> Path:
        """An adapter with a head on `base`."""
        return self.folder / "adapter"

    @property
    def generator(self) -> Path:
        """A masked language model with the teacher's vocabulary."""
        return self.folder / "generator"

    @property
    def corpus(self) -> Path:
        """A sentence a line."""
        return self.folder / "corpus.txt"

    @property
    def lines(self) -> Path:
        """Texts for ``zskd predict``."""
        return self.folder / "lines.txt"

    @property
    def glue(self) -> Path:
        """``SST-2/train.tsv`` and ``SST-2/dev.tsv``."""
        return self.folder / "glue"

    @property
    def cache(self) -> Path:
        """The cache that both undisturbed runs have filled."""
        return self.folder / "cache"

    @property
    def options(self) -> Path:
        """A configuration file with `OPTIONS`, the teacher and the corpus, for ``--config``."""
        return self.folder / "options.yaml"

    def run(self, name: str) -> Path:
        """The folder of an undisturbed run, one of `RUNS`."""
        return self.folder / "runs" / name

    def seconds(self, name: str, *, warm: bool = True) -> float:
        """How long that run took with all in the cache, or with what it asks the teacher for not there yet."""
        found = json.loads((self.folder / "seconds.json").read_text(encoding="utf-8"))
        return float(found[name]["warm" if warm else "cold"])

    def distill(self, name: str, output: Path, cache: Path, *more: object) -> list[object]:
        """Arguments of the run `name`, one of `RUNS`, in other folders."""
        return [
            "distill", "--config", self.options, "--perturb", name, "--output-dir", output, "--cache-dir", cache, *more
        ]  # fmt: skip

    def finetune(self, output: Path, cache: Path, *more: object) -> list[object]:
        """Arguments of a fine-tuning of seconds."""
        return [
            "finetune", "--task", TASK, "--base", self.base, "--rank", 4, "--glue-dir", self.glue, "--max-length", 32,
            "--selection-rows", 32, "--epochs", 1, "--batch-size", 16, "--checkpoints", 2, "--precision", "fp32",
            "--output-dir", output, "--cache-dir", cache, *more,
        ]  # fmt: skip

    def differences(self, name: str, output: Path) -> list[str]:
        """In what a run differs from the undisturbed one: files of the student, numbers of the results."""
        wanted, found = files_of(self.run(name) / "student"), files_of(output / "student")
        complaints = [
            f"student/{path}: differs from the undisturbed run's"
            for path in sorted(wanted.keys() | found.keys())
            if wanted.get(path) != found.get(path)
        ]
        if not (output / "metrics.json").is_file():
            return [*complaints, "metrics.json: missing"]
        before, after = results_of(self.run(name)), results_of(output)
        complaints += [
            f"metrics.json: {key}: expected {before.get(key)}, found {after.get(key)}"
            for key in sorted(before.keys() | after.keys())
            if before.get(key) != after.get(key)
        ]
        if not (output / "report.html").is_file():
            complaints.append("report.html: missing")
        return complaints


def files_of(folder: Path) -> dict[str, str]:
    """Path -> SHA-256 of all files below a folder."""
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


def results_of(output: Path) -> dict[str, Any]:
    """The numbers and texts of a run's ``metrics.json`` that do not depend on the call, by their path in it."""
    content = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    return {path: value for path, value in _flat(content, "") if not any(word in path for word in _OF_THE_CALL)}


def _flat(value: Any, path: str) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(path, value)]
    return [item for key, inner in value.items() for item in _flat(inner, f"{path}.{key}" if path else key)]


def make_world(folder: Path) -> World:
    """Make the models and the text, and run both undisturbed runs with an empty and with a warm cache.

    Raises:
        WorldFailed: a run ended badly, or the second one differs.
    """
    world = World(folder)
    folder.mkdir(parents=True)

    def models() -> int:
        _make_models(world)
        return 0

    # In a process of its own: once gradients were computed in this one, no process that it forks can compute any.
    _ended_well(start_function(folder, models).wait())
    world.corpus.write_text("\n".join(prose(600, seed=1)) + "\n", encoding="utf-8")
    world.lines.write_text("\n".join(prose(20, seed=2)) + "\n", encoding="utf-8")
    for name, seed, count in (("train", 3, 160), ("dev", 4, 40)):
        path = world.glue / "SST-2" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = "".join(f"{text}\t{about(text)}\n" for text in prose(count, seed=seed))
        path.write_text("sentence\tlabel\n" + rows, encoding="utf-8")
    options = {**OPTIONS, "teacher": str(world.teacher), "corpus": [str(world.corpus)]}
    world.options.write_text(yaml.safe_dump(options), encoding="utf-8")
    seconds: dict[str, dict[str, float]] = {name: {} for name in RUNS}
    for state in ("cold", "warm"):  # the second ones find all in the cache that the first ones put there
        for name in RUNS:
            output = world.run(name) if state == "warm" else folder / "runs" / f"{name}-cold"
            done = run(folder, *world.distill(name, output, world.cache))
            _ended_well(done)
            seconds[name][state] = round(done.seconds, 2)
    (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")
    for name in RUNS:
        if found := world.differences(name, folder / "runs" / f"{name}-cold"):
            raise WorldFailed(f"{name}: {found[0]}")
    return world


def _make_models(world: World) -> None:
    from transformers import BertForMaskedLM, BertModel, PreTrainedTokenizerFast

    import zskd.tasks.task as tasks
    from zskd.models.adapters import new_adapter, save_adapter

    probe = tasks.TASKS[TASK].probe_path()
    assert probe is not None
    make_teacher(world.teacher, Path(probe), ("sentence",), "label", LABELS)
    make_student(world.student, world.teacher, LABELS)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(world.teacher)
    model = random_bert(len(tokenizer), LABELS, hidden=32, seed=32)
    save(world.base, BertModel(model.config), tokenizer)
    save_adapter(new_adapter(model, rank=4), world.adapter, str(world.base))
    save(world.generator, BertForMaskedLM(model.config), tokenizer)


def _ended_well(done: Done) -> None:
    if done.code or done.hung:
        raise WorldFailed(f"expected an undisturbed run to end well, found exit code {done.code}: {done.err[-2000:]}")
