"""What the command line says of a fault of the machine, in one line: what failed, what is kept, what to do."""

from __future__ import annotations

import argparse
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zskd.config.limits import flag
from zskd.config.resolve import cache_root
from zskd.system.os_faults import LONGEST, NAMED, Fault, find_fault

# Verb -> what is kept, how to go on, what to lower where memory is lacking.
_VERBS = {
    "distill": (
        "finished label shards, checkpoints and students are kept",
        "repeat the command with --resume",
        "lower --batch-size (--gradient-accumulation makes up for it) or --max-length",
    ),
    "finetune": (
        "what was trained up to the last checkpoint is kept",
        "repeat the command with --resume",
        "lower --max-length, or train from the beginning with a lower --batch-size",
    ),
    "predict": ("what was answered before is kept", "repeat the command", "lower --batch-size or --max-length"),
    "evaluate": ("nothing was written", "repeat the command", "lower --max-length"),
    "diagnose": ("an earlier diagnosis is as it was", "repeat the command", "lower --texts or --max-length"),
    "export": ("an earlier export is as it was", "repeat the command", "close other programs"),
    "report": ("an earlier report is as it was", "repeat the command", "close other programs"),
    "publish": ("nothing was uploaded", "repeat the command", "close other programs"),
}
_OTHER = ("nothing was written", "repeat the command", "close other programs")
_OUTPUTS = {"distill": "--output-dir", "finetune": "--output-dir", "export": "--output-dir"}
_OUTPUTS |= {"predict": "--output", "report": "--output"}
# Arguments without a flag, as the help shows them.
_POSITIONAL = {("diagnose", "model"): "RUN|TEACHER", ("export", "model"): "RUN", ("report", "runs"): "RUN"}
_POSITIONAL |= {("publish", "folder"): "RUN"}
_TEMPORARY = re.compile(r"/(tmp|torchelastic_|pymp-)\w+(/|$)")  # as Python and torch call them
# Arguments that are no files a verb reads.
_NO_INPUTS = {"verb", "run", "output", "output_dir", "cache_dir", "repo_id"}
# What no other file of the user's would mend, even where the error is about a file that the user named.
_OF_THE_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.EAGAIN,
    errno.ESTALE, errno.ENOTCONN,
}  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """A message, and the exit code: 2 if the user named a file that cannot be read, else 1."""

    message: str
    exit_code: int = 1


def failure_of(error: BaseException, arguments: argparse.Namespace | None) -> Failure | None:
    """What to say of an error; None if it is no fault of the machine.

    Args:
        arguments: what was parsed; None if that failed.
    """
    fault = find_fault(error)
    if fault is None:
        return None
    given = vars(arguments) if arguments is not None else {}
    if fault.number in NAMED and not fault.writing and fault.path is not None:
        for name, value in _inputs(given):
            if is_within(fault.path, value):
                where = f"{name} {value if len(value) <= LONGEST else value[:LONGEST] + '...'}"
                inside = "" if Path(fault.path) == Path(value) else f"{fault.path}: "
                return Failure(f"{where}: expected what can be read, found: {inside}{fault.reason}; {fault.advice}", 2)
    nothing_begun = given.get("verb") == "distill" and given.get("dry_run")
    kept, again, less = _OTHER if nothing_begun else _VERBS.get(str(given.get("verb")), _OTHER)
    if given.get("verb") == "predict" and (output := given.get("output")) and not os.path.islink(str(output)):  # noqa: PTH114
        kept = f"{output} is as it was"
    advice = less if fault.memory else _place(fault, given) or fault.advice
    then = f"{advice[:1].upper()}{advice[1:]}, then {again}" if advice else f"{again[:1].upper()}{again[1:]}"
    return Failure(f"{fault.shown}; {fault.kept or kept}. {then}")


def is_the_machine_s(error: BaseException) -> bool:
    """Whether wrong input is none: a file could not be read because the machine is out of something."""
    fault = find_fault(error)
    return fault is not None and fault.number in _OF_THE_MACHINE


def _inputs(given: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Flags or names of arguments with the paths that stand there."""
    for name, value in given.items():
        if name in _NO_INPUTS:
            continue
        shown = _POSITIONAL.get((str(given.get("verb")), name), flag(name))
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and item not in ("", "-"):
                yield shown, item


def is_within(path: str, folder: str) -> bool:
    """Whether a path is a folder or stands below it."""
    inner, outer = (os.path.abspath(os.path.expanduser(name)) for name in (path, folder))  # noqa: PTH100, PTH111
    return inner == outer or inner.startswith(f"{outer}{os.sep}")


def _place(fault: Fault, given: dict[str, object]) -> str | None:
    """Advice that names the flag of the folder that cannot be written; None where there is no such flag."""
    if fault.path is None or fault.number not in (*NAMED, errno.EROFS, errno.ENOSPC, errno.EDQUOT):
        return None
    cache, verb = given.get("cache_dir"), str(given.get("verb"))
    full = f"{fault.advice} or " if fault.number in (errno.ENOSPC, errno.EDQUOT) else ""
    if is_within(fault.path, str(cache_root(cache if isinstance(cache, str) else None))):
        return f"{full}name another folder with --cache-dir"
    if fault.writing and verb in _OUTPUTS and not full:
        return f"name another place with {_OUTPUTS[verb]}"
    if is_within(fault.path, os.environ.get("TMPDIR") or "/tmp") and _TEMPORARY.search(fault.path):
        return f"{full}set TMPDIR to another folder"
    return None
