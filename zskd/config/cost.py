"""Lower bounds of the steps and the memory that a distillation takes, from its options alone. Imports no torch.

How fast a machine is shows only in training, so all numbers are lower bounds. The text may fill a smaller pool than was
asked for; then less is needed.
"""

from __future__ import annotations

import math
import os

from zskd.config.distillation import DistillConfig

FASTEST = 100  # batches a second; the fastest step that was measured, of 64 rows of a built student, took 18 ms
DAY = 86_400  # seconds
MOST_BATCHES = 1_000_000_000  # of a run, 116 days at that speed
FASTEST_RATE = 1.0  # learning rate at which AdamW moves every weight by about 1 in each step
_TEXT = 100  # bytes of a short text in Python
_TOKEN = 1_024  # bytes of a token's states in training: 4 layers of 64 float32 numbers


def machine_memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cost_problems(config: DistillConfig) -> list[str]:
    """Options that no machine gets through. Their values are within their own limits."""
    number = batches(config)
    if number <= MOST_BATCHES:
        return []
    return [
        f"{_shown(config)}: expected at most {MOST_BATCHES:,} batches in a run, found {number:,}; lower --epochs or "
        "--pool-size, or raise --batch-size"
    ]


def cost_warnings(config: DistillConfig, labels: int, texts: int) -> list[str]:
    """Options that are allowed but probably a mistake: more than a day or this machine's memory, huge learning rates.

    Args:
        labels: classes of the task.
        texts: one or two, of an input.
    """
    assert config.pool_size is not None and config.max_length is not None  # the task's defaults
    number = batches(config)
    found = slow(_shown(config), number)
    if config.perturb == "adversarial" or "adversarial" in config.method:
        found += slow(f"--generator-warmup {config.generator_warmup}", config.generator_warmup)
        rate = config.generator_learning_rate
        found += fast("--generator-learning-rate", rate)
    found += fast("--learning-rate", config.learning_rate)
    found += _large(f"--pool-size {config.pool_size}", config.pool_size * (_TEXT * texts + 4 * labels))
    rows = math.ceil(config.batch_size / (config.num_processes or 1))
    return found + _large(f"--batch-size {config.batch_size}", rows * config.max_length * _TOKEN)


def slow(shown: str, batches: int) -> list[str]:
    """A warning where so many batches of training take more than a day on any machine."""
    seconds = batches / FASTEST
    if seconds <= DAY:
        return []
    return [
        f"{shown}: {batches:,} batches, which take at least {seconds / DAY:,.1f} days (a lower bound: at {FASTEST} "
        "batches a second, faster than any machine that was measured)"
    ]


def fast(name: str, rate: float | None) -> list[str]:
    """A warning for a learning rate at which training diverges."""
    if rate is None or rate <= FASTEST_RATE:
        return []
    return [f"{name} {rate:g}: above {FASTEST_RATE:g}, at which training rarely ends with a loss that is a number"]


def _large(shown: str, size: int) -> list[str]:
    memory = machine_memory()
    if size <= memory:
        return []
    return [f"{shown}: may take {size / 1e9:,.0f} GB of memory or more, and this machine has {memory / 1e9:,.0f} GB"]


def batches(config: DistillConfig) -> int:
    """Forward and backward passes of the student, if the text fills the pool."""
    assert config.pool_size is not None and config.epochs is not None
    return math.ceil(config.epochs * math.ceil(config.pool_size / config.batch_size))


def _shown(config: DistillConfig) -> str:
    return f"--epochs {config.epochs:g}, --pool-size {config.pool_size}, --batch-size {config.batch_size}"
