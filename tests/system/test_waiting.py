"""How threads wait: briefly, unless the user or an earlier import of PyTorch has decided."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHOWN = (
    "from zskd.system.waiting import wait_briefly; wait_briefly(); import os; print(os.environ.get('GOMP_SPINCOUNT'))"
)


@pytest.mark.parametrize(
    ("given", "before", "expected"),
    [
        ({}, "", "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "", "7"),
        ({"OMP_WAIT_POLICY": "active"}, "", "None"),
        ({}, "import sys; sys.modules['torch'] = sys; ", "None"),
    ],
)
def test_the_users_own_settings_win(given: dict[str, str], before: str, expected: str) -> None:
    command = [sys.executable, "-c", before + SHOWN]
    done = subprocess.run(command, env={"PYTHONPATH": ":".join(sys.path), **given}, capture_output=True, text=True)
    assert done.stdout.strip() == expected, done.stderr
