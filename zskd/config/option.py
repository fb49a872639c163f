"""One option: a dataclass field that is the flag, the YAML key, the help text and the limits at once."""

from __future__ import annotations

from dataclasses import field
from typing import Any

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
TEACHER_OUTPUTS = ("logits", "probabilities", "labels")
MAX_SEED = 2**32 - 1  # NumPy's legacy generator takes no larger one


def option(default: Any, help: str, **metadata: Any) -> Any:
    """A dataclass field with its help text, its group (``group``) and its limits (``low``, ``high``, ``choices``)."""
    metadata["help"] = help
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)
