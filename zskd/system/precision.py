"""In which precision models compute: which one a device gets, how PyTorch is told, and whether it sufficed."""

from __future__ import annotations

import numpy as np
import torch

from zskd.errors import InputError
from zskd.system.machine import cpu_flags

# Precisions of 16 bits; weights stay float32 and the operations that gain from it are cast.
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_precision(precision: str, device: torch.device) -> str:
    """What ``auto`` means on a device; any other precision is itself.

    ``bf16`` where the device computes in bfloat16 natively; else ``fp16`` on a GPU and ``fp32`` on a CPU. Decided by
    capability and never by a timing, so that the same machine always answers the same.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if any(cpu_flags().values()) else "fp32"


def gradient_precision(precision: str) -> str:
    """The precision of frozen networks that a gradient goes through, where their answers have `precision`.

    Small gradients vanish in float16 unless the loss is scaled up, so that float32 takes its place.
    """
    return "bf16" if precision == "bf16" else "fp32"


def autocast(device_type: str, precision: str) -> torch.autocast:
    """Context in which models compute at a precision; everything but those of `HALVES` is float32, without autocast."""
    return torch.autocast(device_type, HALVES.get(precision), enabled=precision in HALVES)


def check_finite(answers: np.ndarray, name: str, precision: str) -> None:
    """See that a model's answers ``(rows, ...)`` are numbers, before anything is made of them.

    Args:
        name: of the model.

    Raises:
        InputError: some are NaN or infinite. In float16 that happens to a sound model, too.
    """
    wrong = int((~np.isfinite(answers)).reshape(len(answers), -1).any(axis=1).sum()) if len(answers) else 0
    if wrong:
        advice = (
            "float16 ends at 65,504: use --precision bf16 or fp32" if precision == "fp16" else "are its weights sound?"
        )
        raise InputError(
            f"--precision {precision}: expected finite answers of {name}, found NaN or infinity for {wrong} of "
            f"{len(answers)} inputs; {advice}"
        )
