"""How PyTorch's threads wait for each other on a CPU."""

from __future__ import annotations

import os
import sys

# Rounds of active waiting before a thread sleeps. libgomp takes as few where more threads run than there are cores,
# which it knows of its own threads only; otherwise 300,000, with which training beside another busy program takes many
# times as long (docs/performance.md).
ROUNDS = "1000"
_OWN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def wait_briefly() -> None:
    """Let threads sleep soon after they have begun to wait, unless the user has set how they wait.

    libgomp reads this once, when PyTorch is imported; afterwards this function does nothing.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in _OWN):
        os.environ["GOMP_SPINCOUNT"] = ROUNDS
