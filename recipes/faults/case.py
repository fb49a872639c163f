"""A case of the campaign, and what it finds wrong with how a command ended."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from recipes.faults.commands import Done
from recipes.faults.world import World

LONGEST = 2_000  # characters of an error line: longer ones write out a value
ERROR = "zskd: error: "


class NotTried(Exception):
    """This machine cannot do what a case needs; the text says what."""


@dataclass(frozen=True)
class Case:
    """One way in which something can go wrong.

    Attributes:
        name: what is tried, unique within its kind.
        run: gets the world, of which it changes nothing, and an empty folder of its own; returns complaints, none where
            all is clean. It runs in a process of its own and may raise `NotTried`.
        limit: seconds for all of it; a case that takes longer hangs.
    """

    name: str
    run: Callable[[World, Path], list[str]]
    limit: float = 120.0


def errors(done: Done) -> list[str]:
    """The error lines of a command, without what they begin with."""
    return [line.removeprefix(ERROR) for line in done.err.splitlines() if line.startswith(ERROR)]


def complaints(done: Done, codes: Collection[int], *, mentions: str | None = None) -> list[str]:
    """What is wrong with how a command ended.

    Args:
        codes: exit codes that are right; -N where signal N ended it.
        mentions: a text that its error lines have to contain where it ended with 1 or 2.
    """
    found = []
    if done.hung:
        return [f"hangs: still running after {done.seconds:.0f} s; last lines: {tail(done.err)}"]
    if done.code not in codes:
        found.append(f"expected exit code {' or '.join(map(str, sorted(codes)))}, found {done.code}: {tail(done.err)}")
    if "Traceback (most recent call last)" in done.err + done.out:
        found.append(f"a traceback: {tail(done.err)}")
    lines = errors(done)
    if done.code in (1, 2) and not lines:
        found.append(f"exit code {done.code} without an error line: {tail(done.err)}")
    if done.code == 0 and lines:
        found.append(f"exit code 0 with an error line: {lines[0]}")
    found += [f"an error of {len(line)} characters: {line[:200]}..." for line in lines if len(line) > LONGEST]
    if mentions is not None and done.code in (1, 2) and not any(mentions in line for line in lines):
        found.append(f"expected an error that names {mentions}, found: {tail(done.err)}")
    return found


def tail(text: str, lines: int = 3) -> str:
    """The last lines of a text as one."""
    return " / ".join(text.strip().splitlines()[-lines:])[-600:]


def leftovers(*folders: Path) -> list[str]:
    """Unfinished files that nobody removed."""
    return [f"left behind: {path}" for folder in folders for path in sorted(folder.rglob("*.part"))]
