"""Diagnoses of made-up logits by the functions that `zskd diagnose` uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from zskd.diagnosis.findings import advise, find
from zskd.diagnosis.signals import measure

NAMES = ("entailment", "neutral", "contradiction")


def diagnosis(labels: tuple[str, ...], *, scale: float = 2.0, black_box: bool = False, plain: bool = False) -> Any:
    """What `zskd diagnose` would keep of a teacher whose logits are random, `scale` wide.

    Args:
        black_box: without an output layer to look at.
        plain: without labelled rows and without a student.
    """
    random, size = np.random.default_rng(len(labels)), len(labels)
    directions = random.normal(size=(size, max(3, size // 2)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    logits = scale * random.normal(size=(80 * size, directions.shape[1])) @ directions.T
    gold = logits.argmax(axis=1)
    gold[: len(gold) // 4] = 0
    signals = measure(
        logits,
        cosines=None if black_box or size == 2 else directions @ directions.T,
        student=None if plain else logits / 2,
        labelled=None if plain else (logits, gold),
    )
    findings = find(signals, labels)
    found = {
        "task": "made-up",
        "labels": list(labels),
        "teacher": "a teacher",
        "run": None,
        "texts": len(logits),
        "queries_live": 0,
        "signals": signals,
        "findings": findings,
        "advice": advise(signals, findings, size),
    }
    return json.loads(json.dumps(found))


def many(size: int) -> tuple[str, ...]:
    """Names of `size` classes, some of them long."""
    return tuple(f"talk.politics.{i}" if i % 3 else f"comp.os.ms-windows.misc-{i}" for i in range(size))


def put(run: Path, found: Any) -> Path:
    """Keep a diagnosis in a run folder, and return the folder."""
    (run / "diagnosis.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return run
