"""``python -m zskd`` is the same as ``zskd``."""

from __future__ import annotations

import os
import sys

from zskd.system import interrupts
from zskd.system.waiting import wait_briefly


def main() -> int:
    """Run the command line as a process of its own, which handles signals from its first moment on."""
    wait_briefly()
    interrupts.install(resumable=(resumable := interrupts.is_resumable(sys.argv[1:])))
    try:
        interrupts.die_with_launcher()
        with interrupts.told_apart():
            from zskd.cli import main as run
        code = run()
    except interrupts.Interrupted as error:  # before there was a command
        interrupts.say(error, resumable=resumable)
        code = error.exit_code
    interrupts.leave()
    if interrupts.came() is not None:
        _flush()
        if interrupts.launcher() is not None:
            os._exit(code)  # torch's threads for the other processes would abort it
    return code


def _flush() -> None:
    """Flush what there is, to a terminal that may be gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
