"""Topic tasks that need no download: which package a piece of documentation prose belongs to."""

from __future__ import annotations

import random
from pathlib import Path

import yaml

from zskd.system.files import write_text
from zskd.text.embedded import package_documents

FIVE = ("numpy", "pandas", "sklearn", "scipy", "networkx")
TWENTY = (
    "numpy", "pandas", "sklearn", "networkx", "datasets", "huggingface_hub", "peft", "accelerate", "transformers",
    "torch", "matplotlib", "sympy", "scipy.stats", "scipy.signal", "scipy.optimize", "scipy.sparse", "scipy.linalg",
    "scipy.interpolate", "scipy.spatial", "scipy.special",
)  # fmt: skip
DEV_SHARE = 0.25
MAX_WORDS = 60


def write_topic_task(folder: Path, packages: tuple[str, ...], rows: int, seed: int = 0) -> Path:
    """Write ``task.yaml``, ``train.tsv`` and ``dev.tsv``; returns the task file.

    A row is a documentation string's plain sentences, cut to `MAX_WORDS` words, without those that name the package.

    Args:
        rows: of each class, train and dev together; fewer where a package has fewer.
    """
    rng = random.Random(seed)
    parts: dict[str, list[str]] = {"train": [], "dev": []}
    for package in packages:
        own = package.rpartition(".")[2].lower()
        texts = {" ".join(text.split()[:MAX_WORDS]) for text in package_documents(package)}
        usable = sorted(text for text in texts if own not in text.lower() and len(text.split()) >= 8)
        rng.shuffle(usable)
        usable = usable[:rows]
        dev = max(1, int(DEV_SHARE * len(usable)))
        for name, chosen in (("dev", usable[:dev]), ("train", usable[dev:])):
            parts[name] += [f"{text}\t{package}" for text in chosen]
    for name, lines in parts.items():
        rng.shuffle(lines)
        write_text(folder / f"{name}.tsv", "text\tpackage\n" + "\n".join(lines) + "\n")
    task = {"text_columns": ["text"], "label_column": "package", "labels": list(packages), "max_length": 64}
    path = folder / f"topics{len(packages)}.yaml"
    write_text(path, yaml.safe_dump(task, sort_keys=False))
    return path
