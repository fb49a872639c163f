"""The origins of a student (teacher, start, corpus, command) without any path of this machine."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import PurePath
from typing import Any

from zskd.config.distillation import STARTS, DistillConfig
from zskd.config.limits import flag
from zskd.config.methods.adversarial import AdversarialOptions
from zskd.config.resolve import DEFAULT_CONFIG, packaged_configs, resolve
from zskd.hub.ask import is_callable_name, is_local
from zskd.hub.cards import code, hub_link
from zskd.models.backbones import PACKAGED
from zskd.runs.read import FinishedRun
from zskd.runs.wording import is_adversarial, was_handed_over
from zskd.tasks.defaults import with_task_defaults

# Options for files and output, which do not affect results.
_ELSEWHERE = ("resume", "output_dir", "cache_dir", "report_to", "logging_steps")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _base_name(path: str) -> str:
    return PurePath(path.replace("\\", "/")).name or "folder"


def teacher_name(run: FinishedRun) -> str:
    """The teacher's name: a Hub id, ``embedded``, a function, or the last part of a folder."""
    teacher = run.record["teacher"]
    name = str(teacher["name"])
    known = teacher["revision"] or name in PACKAGED or is_callable_name(name)
    return name if known else _base_name(name)


def teacher_words(run: FinishedRun) -> str:
    """The teacher and its origin, as Markdown."""
    name, revision = teacher_name(run), run.record["teacher"]["revision"]
    if name in PACKAGED:
        return f"zskd's packaged adapter on {hub_link(PACKAGED[name].repo_id)}"
    if revision:
        return f"{hub_link(name)} at revision {code(revision)}"
    return f"{code(name)} (not on the Hub)"


def student_origin(run: FinishedRun) -> str | None:
    """The Hub model that the student started from; None if that is not public."""
    start, revision = run.config["student"], run.record["student"]["revision"]
    if start == "build":
        # A built student's word embeddings start from the teacher's reaction to every token.
        if (packaged := PACKAGED.get(run.record["teacher"]["name"])) is not None:
            return packaged.repo_id
        return teacher_name(run) if run.record["teacher"]["revision"] else None
    if not revision:
        return None
    return str(run.task["student"] if start == "default" else start)


def corpus_parts(run: FinishedRun) -> list[tuple[str, str, str]]:
    """(kind, name, identity) per source: ``hub`` with its commit, ``file`` or ``texts`` with SHA-256, ``embedded``."""
    parts = []
    for name, identity in run.record["corpus"]["sources"].items():
        if name == "embedded":
            parts.append(("embedded", name, ""))
        elif _SHA256.fullmatch(identity):
            parts.append(("texts" if was_handed_over(name) else "file", _base_name(name), identity))
        else:
            parts.append(("hub", name, identity))
    return parts


def reproducing_command(run: FinishedRun) -> str:
    """A `zskd distill` command for this run's options, with pinned revisions and file names without folders.

    It starts from the packaged configuration that needs the fewest flags.
    """
    wanted = _public_options(run)
    best: tuple[int, str, dict[str, Any]] | None = None
    for name in sorted(packaged_configs(), key=lambda name: name != DEFAULT_CONFIG):
        base = with_task_defaults(resolve(DistillConfig, name, {"task": run.config["task"]})[0])
        different = {key: value for key, value in wanted.items() if getattr(base, key) != value}
        if any(value in (None, []) for value in different.values()):
            continue  # no flag can reset an option to None
        if best is None or len(different) < best[0]:
            best = (len(different), name, different)
    if best is None:
        return "zskd distill --config config.yaml"
    _, name, different = best
    words = ["zskd", "distill", "--task", wanted["task"]]
    words += [] if name == DEFAULT_CONFIG else ["--config", name]
    for key, value in different.items():
        if key == "task":
            continue
        if isinstance(value, bool):
            words.append(flag(key) if value else flag(f"no_{key}"))
        else:
            words += [flag(key), *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(words)


def teacher_was_handed_over(run: FinishedRun) -> bool:
    """True if the teacher was an object in a Python program, which no flag can name."""
    return run.record["teacher"]["name"] not in (run.config["teacher"], run.task["teacher"])


def _public_options(run: FinishedRun) -> dict[str, Any]:
    names = [item.name for item in dataclasses.fields(DistillConfig)]
    options = {name: run.config[name] for name in names if name in run.config and name not in _ELSEWHERE}
    if not is_adversarial(run.config):  # then they have no effect, and their defaults differ between configurations
        for item in dataclasses.fields(AdversarialOptions):
            options.pop(item.name, None)
    options["task"] = _base_name(options["task"])
    for key in ("teacher", "student"):
        revision = run.record[key]["revision"]
        if revision:
            options[f"{key}_revision"] = revision
        elif options[key] not in ("default", "build", *PACKAGED) and not is_callable_name(options[key]):
            options[key] = _base_name(options[key])
    if options.get("start_from", STARTS[0]) not in STARTS:
        options["start_from"] = _base_name(options["start_from"])
    sources = run.record["corpus"]["sources"]
    options["corpus"] = [
        name if name in sources and not _SHA256.fullmatch(sources[name]) else _base_name(name)
        for name in options["corpus"]
    ]
    if options.get("glue_dir"):
        options["glue_dir"] = _base_name(options["glue_dir"])
    if options.get("gold_labels"):
        options["gold_labels"] = _base_name(options["gold_labels"])
    if options.get("generator", "build") != "build" and is_local(options["generator"]):
        options["generator"] = _base_name(options["generator"])
    return options
