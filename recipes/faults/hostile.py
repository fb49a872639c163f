"""Hostile folders: models, adapters, runs, tasks and text that try to run code, or to reach what is outside of them.

Whatever tries to run code would write a file, the marker, which must never be there. A file outside holds a secret,
which no output may contain. Standard input is closed, empty or says yes to everything.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recipes.faults.case import Case, complaints
from recipes.faults.commands import run
from recipes.faults.model_faults import change
from recipes.faults.models import command, one_short_line
from recipes.faults.world import TASK, World
from zskd.training.manifest import write_manifest

STDIN: dict[str, bytes | None] = {"closed": None, "empty": b"", "consenting": b"yes\n" * 50}
SECRET = "SECRET-of-another-folder"
TOKEN = "hf_" + "abcdefghij" * 4  # as the Hub's tokens look
READING = [("predict", "teacher"), ("evaluate", "teacher"), ("finetune", "base"), ("diagnose", "teacher"),
           ("distill", "teacher"), ("distill", "student"), ("distill", "generator"), ("validate", "teacher"),
           ("publish", "student")]  # fmt: skip
ADAPTED = [("predict", "adapter"), ("evaluate", "adapter"), ("finetune", "adapter"), ("distill", "adapter")]
BESIDE = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt", "optimizer.bin", "x.pkl",
          "tf_model.h5", "flax_model.msgpack", "model.ckpt.index", "x.npy", "x.npz", "conftest.py", "setup.py",
          "__init__.py", "sitecustomize.py")  # fmt: skip
SHADOWS = ("yaml", "torch", "json", "numpy", "transformers", "sitecustomize", "usercustomize", "pip", "site", "logging")


@dataclass(frozen=True)
class Place:
    """What an attack has to work with.

    Attributes:
        world: the healthy folders.
        scratch: of the case; commands run in ``scratch/here``, the secret lies in ``scratch/outside``.
        rng: draws what the name of the case leaves open.
    """

    world: World
    scratch: Path
    rng: random.Random

    @property
    def marker(self) -> Path:
        """The file that code of an attack writes."""
        return self.scratch / "marker"

    @property
    def here(self) -> Path:
        """The working folder of the command."""
        return self.scratch / "here"

    @property
    def secret(self) -> Path:
        """A file outside of what the command is given."""
        return self.scratch / "outside" / "secret.txt"

    def code(self, path: Path, more: str = "") -> None:
        """A module that writes the marker when it is imported."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(self.marker)!r}, 'w').close()\n{more}", encoding="utf-8")

    def pickled(self) -> bytes:
        """A pickle that writes the marker when it is read."""
        return pickle.dumps(_Touch(str(self.marker)), protocol=self.rng.choice([0, 2, 4]))

    def copy(self, role: str) -> Path:
        """A copy of a healthy folder."""
        return shutil.copytree(self.world.folder / role, self.scratch / "model")

    def read(self, verb: str, role: str, folder: Path) -> list[object]:
        """The arguments with which a verb reads a folder."""
        return command(self.world, self.scratch, verb, role, folder)

    def finished(self) -> Path:
        """A copy of a finished run."""
        return shutil.copytree(self.world.run("random"), self.scratch / "run")


class _Touch:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


Attack = Callable[[Place], list[object]]


def _own_code(verb: str, role: str, names: tuple[str, ...]) -> Attack:
    def make(place: Place) -> list[object]:
        folder = place.copy(role)
        place.code(folder / "mine.py", "".join(f"class {name}: pass\n" for name in ("Config", "Model", "Tokenizer")))
        heads = ("SequenceClassification", "MaskedLM")
        models = {"AutoConfig": "mine.Config", **{f"AutoModelFor{head}": "mine.Model" for head in heads}}
        for name in names:
            if name == "tokenizer_config.json":
                change(folder / name, tokenizer_class="Mine", auto_map={"AutoTokenizer": ["mine.Tokenizer"] * 2})
            else:
                known = {} if (folder / name).exists() else {"transformers_version": "5.0.0"}
                (folder / name).write_text(json.dumps(known | _content(folder / name)), encoding="utf-8")
                change(folder / name, auto_map=models, **place.rng.choice([{}, {"model_type": "mine"}]))
        return place.read(verb, role, folder)

    return make


def _content(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _pickle(verb: str, role: str, name: str, kind: str) -> Attack:
    def make(place: Place) -> list[object]:
        import torch

        folder = place.copy(role)
        path = folder / name
        if kind == "archive":
            torch.save({"weight": _Touch(str(place.marker))}, path)
        elif kind == "old archive":
            torch.save({"weight": _Touch(str(place.marker))}, path, _use_new_zipfile_serialization=False)
        else:
            path.write_bytes(place.pickled())
        if name in ("pytorch_model.bin", "adapter_model.bin"):
            path.with_suffix(".safetensors").with_name(
                name.replace("pytorch_", "").replace(".bin", ".safetensors")
            ).unlink()
        return place.read(verb, role, folder)

    return make


def _beside(verb: str, role: str, name: str) -> Attack:
    def make(place: Place) -> list[object]:
        folder = place.copy(role)
        place.code(folder / name) if name.endswith(".py") else (folder / name).write_bytes(place.pickled())
        return place.read(verb, role, folder)

    return make


def _reaching(verb: str, role: str, what: str) -> Attack:
    def make(place: Place) -> list[object]:
        folder = place.copy(role)
        upwards = os.path.relpath(place.secret, folder)
        if what.startswith("index"):
            from safetensors.torch import load_file

            target = upwards if what == "index upwards" else str(place.secret)
            names = load_file(folder / "model.safetensors")
            (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
            index = {"metadata": {}, "weight_map": dict.fromkeys(names, target)}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
        elif what.endswith("_file"):
            change(folder / "tokenizer_config.json", **{what: place.rng.choice([upwards, str(place.secret)])})
        elif what == "chat template":
            escape = "{{ cycler.__init__.__globals__.os.popen('touch " + str(place.marker) + "').read() }}"
            change(folder / "tokenizer_config.json", chat_template=escape)
            (folder / "chat_template.jinja").write_text(escape, encoding="utf-8")
        else:  # a link
            (folder / what).unlink(missing_ok=True)
            (folder / what).symlink_to(place.secret)
        return place.read(verb, role, folder)

    return make


def _adapter(verb: str, values: str) -> Attack:
    def make(place: Place) -> list[object]:
        folder = place.copy("adapter")
        place.code(place.here / "mine.py")
        known: dict[str, dict[str, Any]] = {
            "megatron": {"megatron_config": {"tensor_model_parallel_size": 1}, "megatron_core": "mine"},
            "auto_mapping": {"auto_mapping": {"base_model_class": "Model", "parent_library": "mine"}},
            "unknown kind": {"peft_type": "mine.Model"},
            "itself as base": {"base_model_name_or_path": str(folder)},
            "code as base": {"base_model_name_or_path": "mine:ask"},
            "secret as base": {"base_model_name_or_path": str(place.secret.parent)},
        }
        change(folder / "adapter_config.json", **known[values])
        return place.read(verb, "adapter", folder)

    return make


def _run_with_code(verb: str, field: str) -> Attack:
    """A run from elsewhere whose files name a function, here or in the run."""

    def make(place: Place) -> list[object]:
        folder = place.finished()
        for where in (place.here, folder, folder / "student"):
            place.code(where / "mine.py", "def ask(texts):\n    return ['positive' for _ in texts]\n")
        path = folder / "config.yaml"
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
        options[field] = ["mine:ask"] if field == "corpus" else "mine:ask"
        path.write_text(yaml.safe_dump(options), encoding="utf-8")
        record = _content(folder / "record.json")
        record["teacher"] = {**record["teacher"], "name": "mine:ask"}
        (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
        return _of_run(verb, folder, place)

    return make


def _of_run(verb: str, folder: Path, place: Place) -> list[object]:
    return {
        "diagnose": ["diagnose", folder, "--corpus", place.world.corpus, "--texts", 64, "--max-length", 32],
        "report": ["report", folder],
        "publish": ["publish", folder, "--repo-id", "me/small", "--dry-run"],
        "evaluate": ["evaluate", "--model", folder, "--task", TASK, "--data", "probe"],
        "predict": ["predict", "--model", folder, "--input", place.world.lines],
        "resume": place.world.distill("random", folder, place.scratch / "cache", "--resume"),
    }[verb] + (["--cache-dir", place.scratch / "cache"] if verb == "diagnose" else [])


def _checkpoint(name: str, *, known: bool) -> Attack:
    """A checkpoint with a file that runs code when it is unpickled; `known`: whoever put it there changed checksums."""

    def make(place: Place) -> list[object]:
        folder = place.finished()
        for unfinished in ("metrics.json", "report.html", "analysis.json", "history.json"):
            (folder / unfinished).unlink(missing_ok=True)
        shutil.rmtree(folder / "student")
        for checkpoint in (folder / "checkpoints").glob("checkpoint-*"):
            (checkpoint / name).write_bytes(place.pickled())
            if known:
                write_manifest(checkpoint)
        return _of_run("resume", folder, place)

    return make


def _published(what: str) -> Attack:
    """A run whose files hold a token, point outside or would break out of the card."""

    def make(place: Place) -> list[object]:
        folder = place.finished()
        student = folder / "student"
        if what.startswith("token in "):
            name = what.removeprefix("token in ")
            if name.endswith(".safetensors"):
                from safetensors.torch import load_file, save_file

                save_file(load_file(student / name), student / name, metadata={"format": "pt", "note": TOKEN})
            else:
                change(student / name, note=TOKEN)
        elif what == "student is a link":
            student.rename(place.scratch / "outside" / "student")
            student.symlink_to(place.scratch / "outside" / "student")
        elif what.startswith("link "):
            path = student / what.removeprefix("link ")
            path.unlink()
            path.symlink_to(place.secret)
        else:
            record = _content(folder / "record.json")
            evil = f"a`](x)\n\n# Owned\n{{{{ cycler.__init__.__globals__.os.system('touch {place.marker}') }}}}"
            record["teacher"]["name"] = evil
            (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
        return _of_run("publish", folder, place)

    return make


def _task(what: str) -> Attack:
    def make(place: Place) -> list[object]:
        path = place.here / "task.yaml"
        content = {"text_columns": ["sentence"], "label_column": "label", "labels": ["negative", "positive"]}
        pipe = place.here / "pipe.tsv"
        os.mkfifo(pipe)
        text = {
            "probe /etc/passwd": yaml.safe_dump({**content, "probe": "/etc/passwd"}),
            "probe secret": yaml.safe_dump({**content, "probe": os.path.relpath(place.secret, place.here)}),
            "probe pipe": yaml.safe_dump({**content, "probe": "pipe.tsv"}),
            "a call": f"labels: !!python/object/apply:os.system ['touch {place.marker}']\n",
            "a module": "labels: !!python/name:mine.ask\n",
            "teacher of code": yaml.safe_dump({**content, "teacher": "mine:ask"}),
        }[what]
        path.write_text(text, encoding="utf-8")
        place.code(place.here / "mine.py", "def ask(texts):\n    return texts\n")
        return ["evaluate", "--model", place.world.teacher, "--task", path, "--data", "probe"]

    return make


def _corpus(what: str) -> Attack:
    def make(place: Place) -> list[object]:
        folder = place.scratch / "corpus"
        folder.mkdir()
        if what == "script":
            place.code(folder / "corpus.py", "import datasets\nclass Corpus(datasets.GeneratorBasedBuilder): pass\n")
        else:
            (folder / f"a.{what}").write_bytes(place.pickled())
        given = folder if place.rng.random() < 0.5 else next(folder.iterdir())
        arguments = place.read("diagnose", "teacher", place.world.teacher)
        return [given if argument == place.world.corpus else argument for argument in arguments]

    return make


def _shadow(module: str) -> Attack:
    """Processes of a run that start in a folder with modules of the libraries' names."""

    def make(place: Place) -> list[object]:
        place.code(place.here / f"{module}.py")
        more = ["--num-processes", 2, "--epochs", 1]
        return place.world.distill("random", place.scratch / "run", place.scratch / "cache", *more)

    return make


def _draw(rng: random.Random) -> tuple[str, Attack]:
    """A name and an attack, from a large space."""
    kind = rng.choice(["code", "code", "pickle", "pickle", "beside", "reaching", "reaching", "adapter", "run",
                       "checkpoint", "published", "task", "corpus", "shadow"])  # fmt: skip
    verb, role = rng.choice(READING)
    if kind == "code":
        names = rng.choice([("config.json",), ("tokenizer_config.json",), ("config.json", "tokenizer_config.json"),
                            ("generation_config.json",), ("config.json", "generation_config.json")])  # fmt: skip
        return f"{verb}, {role}: code named in {' and '.join(names)}", _own_code(verb, role, names)
    if kind == "pickle":
        name = "pytorch_model.bin"
        if rng.random() < 0.4:
            (verb, role), name = rng.choice(ADAPTED), "adapter_model.bin"
        how = rng.choice(["pickle", "archive", "old archive"])
        return f"{verb}, {role}: {name} as a hostile {how}", _pickle(verb, role, name, how)
    if kind == "beside":
        name = rng.choice(BESIDE)
        return f"{verb}, {role}: a hostile {name} besides", _beside(verb, role, name)
    if kind == "reaching":
        what = rng.choice(["index upwards", "index from the root", "vocab_file", "tokenizer_file", "merges_file",
                           "chat template", "config.json", "tokenizer.json", "model.safetensors", "vocab.txt",
                           "special_tokens_map.json", "added_tokens.json"])  # fmt: skip
        return f"{verb}, {role}: {what} reaches outside", _reaching(verb, role, what)
    if kind == "adapter":
        verb, role = rng.choice(ADAPTED)
        values = rng.choice(
            ["megatron", "auto_mapping", "unknown kind", "itself as base", "code as base", "secret as base"]
        )
        return f"{verb}, adapter: {values}", _adapter(verb, values)
    if kind == "run":
        verb = rng.choice(["diagnose", "report", "publish", "evaluate", "predict"])
        field = rng.choice(["teacher", "student", "corpus", "method", "generator", "report_to"])
        return f"{verb} RUN: its {field} is a function", _run_with_code(verb, field)
    if kind == "checkpoint":
        name = rng.choice(["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "scaler.pt"])
        known = rng.random() < 0.5
        return f"--resume: a hostile {name}{' with its checksum' * known}", _checkpoint(name, known=known)
    if kind == "published":
        what = rng.choice(["token in config.json", "token in tokenizer_config.json", "token in tokenizer.json",
                           "token in model.safetensors", "student is a link", "link model.safetensors",
                           "link tokenizer.json", "link config.json", "names of the card"])  # fmt: skip
        return f"publish: {what}", _published(what)
    if kind == "task":
        what = rng.choice(["probe /etc/passwd", "probe secret", "probe pipe", "a call", "a module", "teacher of code"])
        return f"task file: {what}", _task(what)
    if kind == "corpus":
        what = rng.choice(["script", "pkl", "npy", "npz", "arrow", "parquet", "jsonl", "csv", "txt"])
        return f"corpus: {what}", _corpus(what)
    module = rng.choice(SHADOWS)
    return f"two processes beside a {module}.py", _shadow(module)


def cases(count: int, rng: random.Random) -> list[Case]:
    """Draw attacks, and what standard input says."""
    found = []
    for number in range(count):
        (name, attack), stdin, seed = _draw(rng), rng.choice(list(STDIN)), rng.getrandbits(32)
        found.append(Case(f"{number:03} {name} (stdin {stdin})", _trial(attack, stdin, seed)))
    return found


def _trial(attack: Attack, stdin: str, seed: int) -> Callable[[World, Path], list[str]]:
    def trial(world: World, scratch: Path) -> list[str]:
        place = Place(world, scratch, random.Random(seed))
        place.here.mkdir()
        place.secret.parent.mkdir()
        place.secret.write_text(f"{SECRET}\t1\n", encoding="utf-8")
        arguments = attack(place)
        outside = _state(place.secret.parent)
        # As `python -m zskd` has it, which finds modules in the working folder.
        prepare = lambda: sys.path.insert(0, str(place.here))  # noqa: E731
        done = run(scratch, *arguments, folder=place.here, stdin=STDIN[stdin], limit=100, prepare=prepare)
        # A checkpoint is looked at when it is resumed, so a wrong one is a run that fails, not wrong input.
        found = complaints(done, {0, 1, 2} if "--resume" in arguments else {0, 2}) + one_short_line(done)
        if place.marker.exists():
            found.append("the folder's code ran")
        # A message may quote the header of a file that the user's task names; nobody else reads it.
        if SECRET in done.out or TOKEN in done.out + done.err:
            found.append("what lies outside is in the output")
        if _state(place.secret.parent) != outside:
            found.append("something outside was changed")
        for folder in ("run", "teacher", "cache", "onnx", "here"):
            written = (scratch / folder).rglob("*")
            found += [f"what lies outside is in {path}" for path in written if _has_secret(path)]
        return found

    return trial


def _state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _has_secret(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and SECRET.encode() in path.read_bytes()
