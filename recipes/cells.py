"""Cells of a results table: one run each, kept as small JSON files so that no number is measured twice."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from recipes.news import news_agreement
from recipes.training_rows import scores_there
from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import METHODS, used_methods
from zskd.config.resolve import resolve, to_dict
from zskd.evaluation.scoring import predict_classes
from zskd.pipeline import distill
from zskd.runs.read import FORMERLY
from zskd.runs.start_record import Start, open_start, packaged_starts
from zskd.student.built import label_config
from zskd.student.shape import student_config
from zskd.system.files import write_text
from zskd.tasks.defaults import input_length, with_task_defaults
from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import Task, find_task
from zskd.teacher.classifier import load_classifier
from zskd.text.pairs import PERTURBED_SHARE, family_shares, perturbed_share
from zskd.text.shaping import Pools

KEPT = (
    "seed", "teacher", "student", "compression", "retention", "retention_above_chance", "agreement",
    "agreement_above_chance", "teacher_queries", "steps", "best_step", "seconds", "zero_shot",
    "transfer_set", "versions",
)  # fmt: skip
_ARCHITECTURE = (
    "model_type",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "pos_att_type",
    "position_buckets",
)
_FREE = ("glue_dir", "cache_dir", "output_dir", "resume", "num_processes")


@dataclass(frozen=True)
class Cell:
    """One run of a table.

    Attributes:
        name: file name of the result, without its ending.
        options: flags on top of the configuration.
        pools: made by the recipe instead of the walk, for the in-domain ceiling; with what identifies them.
        config: name of the packaged configuration.
    """

    name: str
    options: dict[str, Any]
    pools: Pools | None = None
    config: str = "embedded"


def _settings(config: DistillConfig, pools: Pools | None) -> dict[str, Any]:
    """All that the result depends on, without machine paths."""
    free, plain = {*_FREE}, to_dict(DistillConfig()) | FORMERLY
    # As before there were these options.
    later = (
        "compile", "student_precision", "method", "pool_seed", "pairs", "optimizer", "query_budget", "teacher_retries",
    )  # fmt: skip
    free |= {name for name in later if getattr(config, name) == plain[name]}
    if config.objective == "kd" and config.gold_labels is None:  # as before there were others
        free |= {item.name for item in fields(config) if item.metadata.get("group") == "objective"}
    free |= options_of_others(config)
    settings = {key: value for key, value in to_dict(config).items() if key not in free}
    inputs = find_task(config.task).inputs
    share = perturbed_share(inputs)
    if pools is None and config.perturb != "none" and share != PERTURBED_SHARE:  # the only one there was before
        settings["perturbed_pairs"] = share
    if pools is None and "mixed" in (shares := family_shares(inputs, share)):
        settings["mixed_pairs"] = shares["mixed"]
    if config.student == "build":  # one text: an ELECTRA before; two: with dropout and half the learning rate
        task = find_task(config.task)
        shape = student_config(1_000, 100_000, two=task.is_pair, labels=label_config(task)).to_dict()
        settings["architecture"] = {name: shape[name] for name in _ARCHITECTURE if name in shape}
    settings.pop("start_from", None)
    if (
        begun := start_of(find_task(config.task), config.start_from, config.teacher)
    ) is not None and config.student == "build":
        settings["start_from"] = begun  # by what it is, not where
    settings["corpus"] = [Path(source).name for source in config.corpus]
    if pools is not None:
        settings["pools"] = pools.fingerprint
    return settings


def options_of_others(config: DistillConfig) -> set[str]:
    """Options of the methods that a run does not use, on which no result depends."""
    others = [spec for spec in METHODS.values() if spec not in used_methods(config)]
    return {item.name for spec in others for item in fields(spec.options)}


def start_of(task: Task, name: str, teacher: str = "embedded", *, few: bool = False) -> str | None:
    """Fingerprint of the start that a student of a packaged teacher begins with; None if its layers are random.

    Args:
        name: value of ``--start-from``.
        teacher: value of ``--teacher``; the packaged starts lie in folders of these names.
        few: whether queries are few, where single texts begin with a start that has read pairs only.
    """
    if name not in ("none", "auto", "packaged"):
        start: Start | None = open_start(name, pair=task.is_pair)
    elif name == "none":
        start = None
    else:
        known = packaged_starts(pair=task.is_pair)
        packaged = [one for one in known if task.is_pair or few or one.record["inputs"] != "two"]
        start = next((one for one in packaged if one.folder.parent.name == teacher), None)
    return None if start is None else start.record["fingerprint"]


def wikipedia(data: Path) -> list[str]:
    """The Wikipedia text of the recipes, in a folder with ``ood/``."""
    return [str(data / "ood" / name) for name in ("wikitext-2.txt", "wikisplit.txt")]


def _adapter_hash(task: Task, teacher: str) -> str:
    adapter = task.adapter_path(teacher)
    assert adapter is not None
    return hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()


def pack(correct: np.ndarray) -> str:
    """Booleans ``(rows,)`` as hexadecimal text."""
    return np.packbits(correct).tobytes().hex()


def unpack(text: str, rows: int) -> np.ndarray:
    """The booleans ``(rows,)`` of `pack`."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))[:rows].astype(bool)


def finished(path: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The result kept in `path`, None where there is none or it was measured with something else than `wanted`."""
    if not path.is_file():
        return None
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept if all(kept[key] == value for key, value in wanted.items()) else None


def cell_config(options: dict[str, Any], name: str = "embedded") -> DistillConfig:
    """``--config NAME`` with flags on top. An adversary starts as by default: measured runs need not be short."""
    start = {"adversarial_start": DistillConfig.adversarial_start}
    config, problems = resolve(DistillConfig, name, start | options)
    assert not problems, problems
    return with_task_defaults(config)


def run_cell(cell: Cell, data: Path, folder: Path, work: Path, keep: bool = False) -> dict[str, Any]:
    """The result of a cell: from `folder` where it was measured with the same settings and teacher, else measured now.

    Beside the metrics it holds which rows of the dev file the student has right, ``correct``; on which texts made of
    news it answers as the teacher does, ``news`` with ``texts``, ``agreement`` and ``same`` (see `pack`); and what it
    gives on rows of the training file, ``training`` (`scores_there`), unless it learned from them.

    Args:
        data: folder with ``glue/`` and ``ood/``.
    """
    glue_dir = data / "glue"
    config = cell_config({"glue_dir": str(glue_dir), **cell.options}, cell.config)
    task = find_task(config.task)
    wanted = {"settings": _settings(config, cell.pools), "adapter": _adapter_hash(task, config.teacher)}
    path = folder / f"{cell.name}.json"
    if kept := finished(path, wanted):
        return kept
    run = work / cell.name
    config.output_dir = str(run)
    shutil.rmtree(run, ignore_errors=True)
    metrics = distill(config, pools=cell.pools, zero_shot=cell.pools is None).metrics
    rows = read_labelled(task, next(iter(task.glue_files(glue_dir).values())))
    student = load_classifier(task, str(run / "student"), work)
    correct = predict_classes(student, rows.texts, input_length(config), "fp32") == np.array(rows.labels)
    same = news_agreement(task, config, student, data)
    news = {"texts": len(same), "agreement": float(same.mean()), "same": pack(same)}
    kept = {**wanted, **{key: metrics[key] for key in KEPT}, "correct": pack(correct), "news": news}
    if cell.pools is None:
        kept["training"] = scores_there(task, config, student, data)
    write_text(path, json.dumps(kept, indent=1) + "\n")
    if not keep:
        shutil.rmtree(run)
    return kept


def bootstrap_draws(left: list[np.ndarray], right: list[np.ndarray], draws: int = 10_000, seed: int = 0) -> np.ndarray:
    """Differences in accuracy between two conditions, resampled over rows and seeds, ``(draws,)``.

    Each draw takes rows with replacement, the same for both sides, and seeds with replacement, pair by pair.

    Args:
        left: one array ``(rows,)`` of correct answers per seed.
        right: the same seeds and rows.
    """
    a, b = np.stack(left).astype(np.float64), np.stack(right).astype(np.float64)
    difference = a - b
    rng = np.random.default_rng(seed)
    seeds, rows = difference.shape
    means = np.empty(draws)
    for i in range(draws):
        picked = difference[rng.integers(seeds, size=seeds)].mean(axis=0)
        means[i] = picked[rng.integers(rows, size=rows)].mean()
    return means


def interval(draws: np.ndarray) -> tuple[float, float]:
    """95 % interval of what was resampled."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
