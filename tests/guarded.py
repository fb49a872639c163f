"""The ways in which zskd reads a model folder, as commands, and what each command is seen to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conftest import as_flags, fit_teacher, save_model
from labelled_rows import glue_folder, rows_for
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertForMaskedLM, BertForSequenceClassification, BertModel

from zskd.config.distillation import DistillConfig
from zskd.config.verbs import FinetuneConfig
from zskd.models.adapters import new_adapter, save_adapter
from zskd.pipeline import distill
from zskd.tasks.labelled import Labelled, read_labelled
from zskd.tasks.task import TASKS

VERBS = ("distill", "evaluate", "predict", "finetune", "diagnose", "export", "publish")
# As what a folder is read. `distill` and `finetune` have a flag for each; the other verbs read all of them as --model
# or as their first argument.
ROLES = ("teacher", "student", "base", "adapter", "generator")
TASK = TASKS["rte"]  # of two texts, so that segments matter
LENGTH = 64

# (verb, role) that no command has, and why.
NO_SUCH_WAY = {
    ("distill", "base"): "a model without a head is read as --student, which is (distill, student)",
    ("finetune", "teacher"): "`finetune` makes teachers and reads none",
    ("finetune", "student"): "a classifier to start from is read as --base, which is (finetune, base)",
    ("finetune", "generator"): "`finetune` has no generator",
    **{
        (verb, role): f"`{verb}` reads every whole classifier alike, which is ({verb}, teacher)"
        for verb in ("evaluate", "predict", "diagnose", "export")
        for role in ("student", "base")
    },
    **{
        (verb, "generator"): f"`{verb}` asks classifiers; any other model has no head, which is `without_head`"
        for verb in ("evaluate", "predict", "diagnose", "export")
    },
    **{
        ("publish", role): "`publish` reads the student of a run alone"
        for role in ("teacher", "base", "adapter", "generator")
    },
}


@dataclass(frozen=True)
class World:
    """Healthy folders, one a role, and what the commands need beside them."""

    folders: dict[str, Path]
    config: DistillConfig
    finetuning: FinetuneConfig
    run: Path
    lines: Path

    def adapter_on(self, base: Path, folder: Path) -> Path:
        """The healthy adapter on another base."""
        shutil.copytree(self.folders["adapter"], folder)
        path = folder / "adapter_config.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(content | {"base_model_name_or_path": str(base)}), encoding="utf-8")
        return folder


def make_world(folder: Path, corpus: Path) -> World:
    """A teacher that is fitted to the task's probe, and a student, a base, an adapter and a generator in its words."""
    rows, more = read_labelled(TASK, str(TASK.probe_path())), rows_for(TASK, 90, seed=6)
    texts = tuple([*left, *right] for left, right in zip(rows.texts, more.texts, strict=True))
    known = Labelled(texts, [*rows.labels, *more.labels])
    teacher, student = (
        fit_teacher(folder / name, TASK, known, rate=6e-3, steps=steps, segments=True)
        for name, steps in (("teacher", 20), ("student", 30))
    )
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    model = BertForSequenceClassification.from_pretrained(teacher)
    config = DistillConfig(
        task=TASK.name, teacher=str(teacher), compression=2.0, corpus=[str(corpus)], pool_size=192, heldout=64,
        max_length=LENGTH, epochs=1.0, batch_size=32, checkpoints=1, precision="fp32", max_class_share=1.0,
        generator_warmup=1, generator_steps=1, student_steps=2, cache_dir=str(folder / "cache"),
        output_dir=str(folder / "run"),
    )  # fmt: skip
    distill(config)
    folders = {"teacher": teacher, "student": student}
    folders["base"] = save_model(folder / "base", BertModel.from_pretrained(teacher), tokenizer)
    adapted = new_adapter(BertForSequenceClassification.from_pretrained(teacher), rank=4)
    save_adapter(adapted, folder / "adapter", str(folders["base"]))
    folders["adapter"] = folder / "adapter"
    masked = BertForMaskedLM(model.config)
    masked.base_model.load_state_dict(model.base_model.state_dict(), strict=False)
    folders["generator"] = save_model(folder / "generator", masked, tokenizer)
    glue = glue_folder(folder / "glue", TASK, count=96)
    finetuning = FinetuneConfig(
        task=TASK.name, base=str(folders["base"]), rank=4, glue_dir=str(glue), selection_rows=16, max_length=LENGTH,
        epochs=1.0, batch_size=16, checkpoints=1, precision="fp32", cache_dir=config.cache_dir,
        learning_rate=1e-12,  # so that the scores are those of what training began with
    )  # fmt: skip
    lines = folder / "lines.tsv"
    asked = [*zip(*rows.texts, strict=True)][::20]
    lines.write_text("".join(f"{a}\t{b}\n" for a, b in asked), encoding="utf-8")
    return World(folders, config, finetuning, folder / "run", lines)


@dataclass(frozen=True)
class Seen:
    """What a command did: its exit code, its error lines, and, if it succeeded, numbers that the folder decides."""

    code: int
    errors: list[str]
    log: str
    value: Any = None


def observe(cli: Callable[..., Any], verb: str, role: str, folder: Path, world: World, scratch: Path) -> Seen:
    """Run a verb on a folder that it reads as `role`; whatever is written goes below `scratch`."""
    arguments, value = _COMMANDS[verb](role, folder, world, scratch)
    done = cli(*arguments)
    return Seen(done.code, done.errors, done.err, value(done.out) if done.code == 0 else None)


_Command = tuple[list[object], Callable[[str], Any]]


def _distill(role: str, folder: Path, world: World, scratch: Path) -> _Command:
    changes: dict[str, Any] = {"output_dir": str(scratch / "run"), "teacher": str(world.folders["teacher"])}
    if role in ("teacher", "adapter"):
        changes["teacher"] = str(folder)
    elif role == "student":
        changes["student"] = str(folder)
    else:
        changes |= {"perturb": "adversarial", "generator": str(folder), "student": "build"}
    config = replace(world.config, **changes)
    return ["distill", *as_flags(config)], lambda _: _weights(scratch / "run" / "student" / "model.safetensors")


def _finetune(role: str, folder: Path, world: World, scratch: Path) -> _Command:
    config = replace(world.finetuning, output_dir=str(scratch / "teacher"), base=str(folder))
    record = scratch / "teacher" / "training.json"
    return ["finetune", *as_flags(config)], lambda _: json.loads(record.read_text(encoding="utf-8"))["scores"]


def _evaluate(role: str, folder: Path, world: World, scratch: Path) -> _Command:
    flags = ["--model", folder, "--task", TASK.name, "--data", "probe", "--max-length", LENGTH, "--json"]
    return ["evaluate", *flags], lambda out: _numbers(json.loads(out))


def _predict(role: str, folder: Path, world: World, scratch: Path) -> _Command:
    flags = ["--model", folder, "--input", world.lines, "--max-length", LENGTH, "--json"]
    return ["predict", *flags], _probabilities


def _diagnose(role: str, folder: Path, world: World, scratch: Path) -> _Command:
    flags = ["--task", TASK.name, "--corpus", world.config.corpus[0], "--texts", 64, "--max-length", LENGTH, "--json"]
    flags += ["--precision", "fp32", "--cache-dir", scratch / "cache"]
    return ["diagnose", folder, *flags], lambda out: _numbers(json.loads(out))


def _export(role: str, folder: Path, world: World, scratch: Path) -> _Command:
    flags = ["--format", "onnx", "--task", TASK.name, "--output-dir", scratch / "onnx", "--json"]
    return ["export", folder, *flags], lambda out: json.loads(out)["models"]["ONNX"]["scores"]


def _publish(role: str, folder: Path, world: World, scratch: Path) -> _Command:
    run = shutil.copytree(world.run, scratch / "published", ignore=shutil.ignore_patterns("checkpoints", "_cache"))
    shutil.rmtree(run / "student")
    shutil.copytree(folder, run / "student")
    return ["publish", run, "--repo-id", "me/small", "--dry-run"], lambda out: sorted(
        line.split()[0] for line in out.splitlines()
    )


_COMMANDS: dict[str, Callable[[str, Path, World, Path], _Command]] = {
    "distill": _distill, "evaluate": _evaluate, "predict": _predict, "finetune": _finetune, "diagnose": _diagnose,
    "export": _export, "publish": _publish,
}  # fmt: skip


def _weights(path: Path) -> dict[str, Any]:
    """A few numbers of each weight, which differ as soon as training saw something else."""
    # A softmax is the same whatever the bias of the keys, so its gradient is rounding alone, which Adam scales up.
    return {
        name: [float(w.double().sum()), float(w.double().square().sum())]
        for name, w in load_file(path).items()
        if not name.endswith("key.bias")
    }


def _probabilities(out: str) -> list[dict[str, float]]:
    """Of each line, by the names of the classes, in which capitals do not count."""
    found = [json.loads(line)["probabilities"] for line in out.splitlines()]
    return [{name.lower(): share for name, share in line.items()} for line in found]


def _numbers(found: Any) -> Any:
    """The numbers of a JSON object that are no times."""
    if isinstance(found, dict):
        return {k: _numbers(v) for k, v in found.items() if "second" not in k and not isinstance(v, str | None)}
    return found
