"""The options of `zskd pretrain`: one dataclass field = one flag = one YAML key.

This module imports neither torch nor transformers, so that ``zskd --help`` and the checks stay fast.
"""

from __future__ import annotations

from dataclasses import dataclass

from zskd.config import limits, shared
from zskd.config.optimizer_options import OPTIMIZERS
from zskd.config.option import option

INPUTS = ("one", "two", "both")


@dataclass
class PretrainConfig:
    """Options of `zskd pretrain`: distil a start for students from a backbone, with plain text and no task."""

    backbone: str = option(
        "embedded",
        "model whose token states the start learns: `embedded`, `embedded-base`, a Hub id or a folder",
        group="models",
    )
    backbone_revision: str | None = option(None, "commit or tag of a Hub backbone", group="models")
    compression: float = shared.compression("the start", "the backbone's")
    parameters: int | None = option(
        None, "the most parameters of the start, in place of --compression", low=1_000, high=10**9, group="models"
    )
    inputs: str = option(
        "both", "whether the start reads one text, two texts that are to be compared, or both", choices=INPUTS,
        group="text",
    )  # fmt: skip
    corpus: list[str] = shared.corpus(["embedded"])
    corpus_fraction: float = shared.corpus_fraction()
    language: str = shared.language()
    heldout: int = option(
        1_000, "held-out inputs on which the log reports the error", low=16, high=limits.MOST_ROWS, group="text"
    )
    max_length: int = option(
        128, "tokens; longer inputs are cut", low=limits.LENGTHS[0], high=limits.LENGTHS[1], group="text"
    )
    tokens: int = option(
        10_000_000, "tokens to read, about; a text that is too short for them is read several times",
        low=1_000, high=10**13, group="training",
    )  # fmt: skip
    steps: int | None = option(
        None, "optimizer steps, in place of --tokens", low=1, high=limits.MOST_STEPS, group="training"
    )
    batch_size: int = shared.batch_size()
    optimizer: str = option(
        "muon", "muon for the matrices of the layers and adamw for all else, or adamw for all weights",
        choices=OPTIMIZERS, group="training",
    )  # fmt: skip
    learning_rate: float = option(8.0e-3, "peak learning rate", low=0.0, group="training")
    warmup: float = shared.warmup()
    weight_decay: float = shared.weight_decay()
    checkpoints: int = option(
        10, "checkpoints, each with a line about the held-out error", low=1, high=limits.MOST_CHECKPOINTS,
        group="training",
    )  # fmt: skip
    precision: str = shared.precision("the backbone", group="training")
    seed: int = shared.seed()
    output_dir: str | None = option(None, "folder of the start; default runs/start-INPUTS", group="run")
    resume: bool = shared.resume("an unfinished training with the same options")
    num_processes: int | None = shared.num_processes()
    cache_dir: str | None = shared.cache_dir()
