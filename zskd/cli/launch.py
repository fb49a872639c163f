"""``--num-processes N``: run the command in N processes on this machine, with torch's launcher."""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from zskd.config.distillation import DistillConfig
from zskd.config.pretraining import PretrainConfig
from zskd.config.resolve import to_dict
from zskd.errors import InputError, RunError, ZskdError
from zskd.system import interrupts

KEPT = {
    "distill": "finished label shards and checkpoints are kept; repeat the command with --resume",
    "pretrain": "checkpoints are kept; repeat the command with --resume",
}


def started_by_launcher() -> bool:
    """True in a process that ``torchrun``, ``accelerate launch`` or `launch` started."""
    # accelerate sets the first variable for a single process too.
    return "ACCELERATE_MIXED_PRECISION" in os.environ or "RANK" in os.environ


def is_main() -> bool:
    """True in the first of several processes, and in a single process."""
    return os.environ.get("RANK", "0") == "0"


def launched() -> bool:
    """True in a process that `launch` started; the process that called `launch` prints the results."""
    return interrupts.launcher() is not None


def hand_over(messages: Sequence[str], exit_code: int) -> bool:
    """Leave messages to the process that called `launch`, which says them after all have ended; False if that fails."""
    started = interrupts.launcher()
    if started is None:
        return False
    if not messages:
        return True
    path = started[1] / f"failed-{os.environ.get('RANK', '0')}"
    try:
        path.with_suffix(".part").write_text(json.dumps([messages, exit_code]), encoding="utf-8")
        path.with_suffix(".part").rename(path)
    except OSError:
        return False
    return True


def _handed_over(folder: Path) -> ZskdError | None:
    """What the process that failed first had to say; None if it said nothing."""
    found = [path for path in folder.glob("failed-*") if path.suffix != ".part"]
    for path in sorted(found, key=lambda path: path.stat().st_mtime_ns):
        messages, exit_code = json.loads(path.read_text(encoding="utf-8"))
        return InputError(messages) if exit_code == InputError.exit_code else RunError("; ".join(messages))
    return None


def end_without_threads() -> Callable[[], None]:
    """Call this before torch is imported, and the function it returns once the command has succeeded.

    Python then ends the process with exit code 0 after all other exit handlers, which were registered later. torch's
    threads for the other processes, where they are still running, would abort it (SIGABRT) a moment later.
    """
    succeeded: list[bool] = []

    def end() -> None:
        if succeeded:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    atexit.register(end)
    return lambda: succeeded.append(True)


def launch(verb: str, config: DistillConfig | PretrainConfig, processes: int, *, quiet: bool = False) -> int:
    """Run a verb in several processes.

    If one of them fails, the others are terminated too (killed after 30 seconds if they do not react).

    Returns:
        The exit code of the first process that failed with an error message of its own, else 0.

    Raises:
        RunError: a process was killed or crashed.
        Interrupted: a signal came (a KeyboardInterrupt).
    """
    os.environ.setdefault("LOGLEVEL", "CRITICAL")  # the launcher's own report of a failure is long
    # As torchrun does, but the cores are divided among the processes, instead of one core each.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, interrupts.once():
        os.environ[interrupts.LAUNCHED] = f"{os.getpid()}:{folder}"
        options = Path(folder, "run.yaml")
        options.write_text(yaml.safe_dump(to_dict(config)), encoding="utf-8")
        group = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
        )
        # The launcher's own handlers would pass SIGINT on, which a process that is just starting answers with a
        # traceback. Interrupted by ours, it ends the processes with SIGTERM. Older versions do not let us choose.
        if hasattr(group, "signals_to_handle"):
            group.signals_to_handle = "SIGQUIT"
        try:
            flags = ["--config", str(options), *(["--quiet"] if quiet else [])]
            # -P: `-m` alone would look for every module, such as yaml, in the working folder first.
            elastic_launch(group, sys.executable)("-P", "-m", "zskd", verb, *flags)
        except ChildFailedError as error:
            first = min(error.failures.values(), key=lambda failure: failure.timestamp)
            if (said := _handed_over(Path(folder))) is not None:
                raise said from error
            if first.exitcode == 2:
                return 2
            how = (
                f"was killed by {signal.Signals(-first.exitcode).name}"
                if first.exitcode < 0
                else f"ended with exit code {first.exitcode}"
            )
            raise RunError(f"process {first.local_rank} of {processes} {how}; {KEPT[verb]}") from error
        except SignalException as error:
            raise interrupts.Interrupted(error.sigval) from error
        finally:
            del os.environ[interrupts.LAUNCHED]
    return 0


def leave_the_other_processes() -> bool:
    """Close the connection to them, if there are any; returns whether there were."""
    from accelerate import PartialState

    state = PartialState()
    several = state.num_processes > 1
    state.wait_for_everyone()
    state.destroy_process_group()
    return several
