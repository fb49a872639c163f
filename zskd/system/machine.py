"""The kind of a machine, which decides the last bits of a result: the instructions of its CPU, and its threads.

Runs are equal bit for bit on one kind of machine. On another kind, sums are rounded in another order.
"""

from __future__ import annotations

import json
import logging
import platform
from pathlib import Path
from typing import Any

import torch

from zskd.system.files import write_text

logger = logging.getLogger(__name__)

FILE = "machine.json"  # in a checkpoint
# PyTorch chooses other kernels for bfloat16 where the CPU has these.
_FLAGS = {"avx512_bf16": "_is_avx512_bf16_supported", "amx": "_is_amx_tile_supported"}


def cpu_flags() -> dict[str, bool]:
    """Whether the CPU computes in bfloat16 with AVX-512 and with AMX; False if this PyTorch cannot tell."""
    return {name: bool(getattr(torch.cpu, check, bool)()) for name, check in _FLAGS.items()}


def machine() -> dict[str, Any]:
    """The kind of machine that this process runs on.

    Returns:
        ``cpu``, the instructions that PyTorch's kernels use, such as ``AVX512``; ``avx512_bf16`` and ``amx``;
        ``threads`` of an operation; ``gpu``, its name or None.
    """
    return {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        **cpu_flags(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor() -> str:
    """The name of the CPU as its maker gives it, or its architecture where the system does not tell.

    Results do not depend on it beyond what `machine` says; it is what measured times belong to.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, names), "") or platform.processor() or platform.machine()


def write_machine(checkpoint: Path, found: dict[str, Any] | None = None) -> None:
    """Record in a checkpoint the kind of machine that made it.

    Args:
        found: what `machine` said when the training began, which may have divided the threads since; default: now.
    """
    write_text(checkpoint / FILE, json.dumps(found or machine()) + "\n")


def warn_of_another_machine(checkpoint: Path) -> None:
    """Log a warning if `checkpoint` was made on another kind of machine; checkpoints without a record are accepted."""
    path = checkpoint / FILE
    if not path.is_file():
        return
    try:
        there = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        logger.warning("%s: expected the kind of machine, found: %s; going on without", path, error)
        return
    different = [
        f"{name} {there[name]} there, {here} here"
        for name, here in machine().items()
        if name in there and there[name] != here
    ]
    if different:
        logger.warning(
            "%s was made on another kind of machine (%s): the run goes on, but its student may differ in the last bits "
            "from one of a single machine",
            checkpoint,
            "; ".join(different),
        )
