"""What hostile folders try: models, adapters, runs, tasks and text that run code, or reach what is outside of them."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recipes.faults.model_faults import change
from recipes.faults.models import command
from recipes.faults.world import TASK, World
from zskd.training.manifest import write_manifest

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


def own_code(verb: str, role: str, names: tuple[str, ...]) -> Attack:
    """Configurations that name modules of the folder."""

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


def unpickled(verb: str, role: str, name: str, kind: str) -> Attack:
    """Weights that run code when they are unpickled."""

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


def beside(verb: str, role: str, name: str) -> Attack:
    """A file that nothing should open, with code in it."""

    def make(place: Place) -> list[object]:
        folder = place.copy(role)
        place.code(folder / name) if name.endswith(".py") else (folder / name).write_bytes(place.pickled())
        return place.read(verb, role, folder)

    return make


def reaching(verb: str, role: str, what: str) -> Attack:
    """A file that is, or names, one outside of the folder."""

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


def adapter(verb: str, values: str) -> Attack:
    """An adapter whose configuration names code, itself or a secret."""

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


def run_with_code(verb: str, field: str) -> Attack:
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


def checkpoint(name: str, *, known: bool) -> Attack:
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


def published(what: str) -> Attack:
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


def task(what: str) -> Attack:
    """A task file that names files or code."""

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


def corpus(what: str) -> Attack:
    """Text in a file that could hold code."""

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


def shadow(module: str) -> Attack:
    """Processes of a run that start in a folder with modules of the libraries' names."""

    def make(place: Place) -> list[object]:
        place.code(place.here / f"{module}.py")
        more = ["--num-processes", 2, "--epochs", 1]
        return place.world.distill("random", place.scratch / "run", place.scratch / "cache", *more)

    return make
