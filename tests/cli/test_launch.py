"""How a process ends that was one of several."""

from __future__ import annotations

import subprocess
import sys

import pytest

# An exit handler that was registered before stands for torch's threads, which abort the process at its very end.
PROCESS = """
import atexit, os, sys
from zskd.cli.launch import end_without_threads
atexit.register(os.abort)
succeed = end_without_threads()
atexit.register(lambda: print("closed"))
if sys.argv[1] == "succeeds":
    succeed()
"""


@pytest.mark.parametrize(("what", "aborts"), [("succeeds", False), ("fails", True)])
def test_only_a_process_that_succeeded_ends_before_threads_abort_it(what: str, aborts: bool) -> None:
    done = subprocess.run([sys.executable, "-c", PROCESS, what], capture_output=True, text=True, check=False)
    assert (done.returncode != 0) is aborts
    assert aborts or done.stdout == "closed\n", "other handlers run first, and what they print is kept"
