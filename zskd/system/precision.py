"""The precision in which models compute: choosing one for a device, autocast, and checking the results."""

from __future__ import annotations

import numpy as np
import torch

from zskd.errors import InputError
from zskd.system.machine import cpu_flags

# 16-bit precisions. Weights stay float32; autocast casts the operations that gain from it.
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_precision(precision: str, device: torch.device) -> str:
    """Resolve ``auto`` for a device; any other precision is returned as it is.

    ``auto`` is ``bf16`` if the device computes in bfloat16 natively, else ``fp16`` on a GPU and ``fp32`` on a CPU. The
    choice depends on capability and never on timing, so that a machine always gives the same result.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if any(cpu_flags().values()) else "fp32"


def gradient_precision(precision: str) -> str:
    """The precision for a gradient through frozen networks that otherwise answer in `precision`.

    Small gradients vanish in float16 unless the loss is scaled up, so ``fp16`` becomes ``fp32``.
    """
    return "bf16" if precision == "bf16" else "fp32"


def autocast(device_type: str, precision: str) -> torch.autocast:
    """Autocast context for a precision of `HALVES`; any other precision computes in float32, without autocast."""
    return torch.autocast(device_type, HALVES.get(precision), enabled=precision in HALVES)


def check_finite(answers: np.ndarray, name: str, precision: str) -> None:
    """Check that a model's answers ``(rows, ...)`` are finite.

    Args:
        name: the model's name, for the message.

    Raises:
        InputError: some are NaN or infinite. In float16, that can happen to a sound model too.
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
