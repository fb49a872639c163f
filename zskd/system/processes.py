"""Several processes on one or more machines: joining them, and work that one process does for all.

The processes are those of accelerate: started by `zskd.cli.launch`, by ``accelerate launch`` or by ``torchrun``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from zskd.errors import InputError, ZskdError
from zskd.system.files import may_write
from zskd.system.unfinished import clear_unfinished, holder

Result = TypeVar("Result")

# Long enough to wait while another process reads a large corpus. The launcher notices if a process dies.
TIMEOUT = timedelta(days=2)
_MARK = "zskd"  # whose holder folder (`zskd.system.unfinished`) all processes should see
_UNSUPPORTED = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}


class Elsewhere(ZskdError):
    """The main process failed at work for all processes, and has reported why."""

    problems: tuple[str, ...] = ()

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process failed")
        self.exit_code = exit_code


def join(asked: int | None) -> PartialState:
    """Join the other processes, if there are any.

    Args:
        asked: the expected number of processes; None to accept any.

    Raises:
        InputError: the number differs, or the processes were started for FSDP or DeepSpeed.
    """
    for variable, name in _UNSUPPORTED.items():
        if os.environ.get(variable, "false").lower() == "true":
            raise InputError(
                f"{name}: the student fits on every device and the frozen teacher is never wrapped, so there is "
                f"nothing to shard; start the processes without {name} (accelerate config, or --num-processes)"
            )
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=TIMEOUT)
    if asked is not None and state.num_processes != asked:
        raise InputError(
            f"--num-processes {asked}: expected {asked} processes, found {state.num_processes}; "
            "`accelerate launch --cpu` starts one whatever it is told: use --multi_gpu (it needs no GPU), torchrun, "
            "or leave the launcher out and let zskd start them"
        )
    return state


def gather(value: Result) -> list[Result]:
    """The values of all processes, in their order."""
    return list(gather_object([value])) if PartialState().num_processes > 1 else [value]


def on_main(function: Callable[[], Result]) -> Result:
    """Run a function in the main process only, and return its result in all processes.

    Raises:
        Exception: the function's own in the main process, `Elsewhere` in the others.
    """
    state = PartialState()
    if state.num_processes == 1:
        return function()
    outcome: list[Any] = [None, None]
    error = None
    if state.is_main_process:
        try:
            outcome[0] = function()
        except Exception as raised:  # raised again below, after the others know
            error, outcome[1] = raised, getattr(raised, "exit_code", 1)
    broadcast_object_list(outcome)
    if error is not None:
        raise error
    if outcome[1] is not None:
        raise Elsewhere(outcome[1])
    return outcome[0]


def main_first(function: Callable[[], Result]) -> Result:
    """Run a function in the main process first, then in the others, which find its files in the cache.

    Raises:
        ZskdError: the function's own in the main process, `Elsewhere` in the others.
    """
    kept: list[Result] = []
    on_main(lambda: kept.append(function()))
    return kept[0] if kept else function()


def check_shared(folder: Path, flag: str) -> None:
    """Check that all processes see the same folder, which may not hold on several nodes.

    Raises:
        InputError: in all processes if some of them see another folder.
    """
    on_main(lambda: clear_unfinished(folder, _MARK))
    if PartialState().num_processes == 1:
        return
    with ExitStack() as stack:

        def leave_mark() -> Path | list[str]:
            if folder.is_dir() and not may_write(folder):
                return _names(folder)  # whoever sees the same reads the same
            folder.mkdir(parents=True, exist_ok=True)
            return stack.enter_context(holder(folder / _MARK))

        mark = on_main(leave_mark)
        there = mark.is_dir() if isinstance(mark, Path) else folder.is_dir() and _names(folder) == mark
        seen = gather((socket.gethostname(), there))
    blind = sorted({host for host, there in seen if not there})
    if blind:
        raise InputError(
            f"{flag} {folder}: expected a folder that all nodes share, found another one on {', '.join(blind)}"
        )


def _names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())
