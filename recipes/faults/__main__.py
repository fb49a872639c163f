"""Run the campaign; see `recipes.faults`."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from recipes.faults.case import Case
from recipes.faults.forks import CaseLost, Result, run_cases, run_function
from recipes.faults.kinds import KINDS, Kind
from recipes.faults.world import World, make_world

SHARE = 3  # one case of so many is drawn, unless all are asked for


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.faults", description=__doc__)
    parser.add_argument("--all", action="store_true", help=f"every case, not a drawn {SHARE}rd of them")
    parser.add_argument("--each", type=int, default=None, metavar="N", help="at most N cases of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--kinds", default="", help="names, separated by commas; default: all")
    parser.add_argument("--only", default=None, metavar="TEXT", help="cases whose name contains it")
    parser.add_argument("--jobs", type=int, default=2, help="cases at the same time")
    parser.add_argument("--keep", action="store_true", help="keep what unclean cases left")
    parser.add_argument("--world", type=Path, default=None, help="folder to make the world in, or to find it in")
    parser.add_argument("--result", type=Path, default=None, help="JSON file for the table")
    return parser.parse_args()


def draw(kind: Kind, seed: int, *, everything: bool, each: int | None, only: str | None) -> list[Case]:
    """The cases of a kind that are tried, in the order in which they are drawn."""
    cases = kind.cases(seed)
    if only is not None:
        return [case for case in cases if only in case.name]
    count = len(cases) if everything else -(-len(cases) // SHARE)
    return random.Random(f"{seed} {kind.name} drawn").sample(cases, min(count, each or count))


def counts(found: list[Result]) -> tuple[int, int]:
    """How many cases were tried, and how many of them are clean."""
    tried = [result for result in found if result.not_tried is None]
    return len(tried), sum(not result.complaints for result in tried)


def table(kinds: list[Kind], results: dict[str, list[Result]], drawn: dict[str, int]) -> str:
    """A line for each kind: cases, drawn, tried, clean."""
    rows: list[tuple[str, ...]] = [("kind", "cases", "drawn", "tried", "clean", "seconds")]
    for kind in kinds:
        seconds = sum(result.seconds for result in results[kind.name])
        numbers = (kind.count, drawn[kind.name], *counts(results[kind.name]))
        rows.append((kind.title, *map(str, numbers), f"{seconds:.0f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def main() -> int:
    """Returns 0 where all that was tried is clean, 1 where something is not, 2 for wrong arguments."""
    asked = arguments()
    names = [name for name in asked.kinds.split(",") if name]
    kinds = [kind for kind in KINDS if not names or kind.name in names]
    if unknown := sorted(set(names) - {kind.name for kind in KINDS}):
        print(f"--kinds: expected some of {', '.join(k.name for k in KINDS)}, found {unknown}", file=sys.stderr)
        return 2
    chosen = {
        kind.name: draw(kind, asked.seed, everything=asked.all, each=asked.each, only=asked.only) for kind in kinds
    }
    work = Path(tempfile.mkdtemp(prefix="zskd-faults-"))
    work.chmod(0o755)  # some cases give up their rights
    started = time.monotonic()
    try:
        world = World(asked.world or work / "world")
        if not (world.folder / "seconds.json").is_file():
            run_function(lambda: make_world(world.folder), work / "making")
        print(f"seed {asked.seed}; the world took {time.monotonic() - started:.0f} s", flush=True)
        results: dict[str, list[Result]] = {}
        for kind in kinds:
            results[kind.name] = run_cases(chosen[kind.name], world, work / kind.name, asked.jobs, keep=asked.keep)
            for result in results[kind.name]:
                for text in result.complaints:
                    print(f"NOT CLEAN {kind.name}: {result.name}: {text}", flush=True)
                if result.not_tried is not None:
                    print(f"not tried {kind.name}: {result.name}: {result.not_tried}", flush=True)
            print("{}: {} tried, {} clean".format(kind.title, *counts(results[kind.name])), flush=True)
        drawn = {name: len(cases) for name, cases in chosen.items()}
        print(table(kinds, results, drawn))
        minutes = (time.monotonic() - started) / 60
        print(f"{minutes:.1f} minutes, {asked.jobs} at the same time")
    except CaseLost as error:
        print(f"the campaign cannot go on: {error}", file=sys.stderr)
        return 1
    finally:
        if not asked.keep:
            shutil.rmtree(work, ignore_errors=True)
    if asked.result is not None:
        content = {
            "command": "python -m recipes.faults " + " ".join(sys.argv[1:]),
            "seed": asked.seed,
            "minutes": round(minutes, 1),
            "kinds": {
                kind.name: {"cases": kind.count, "drawn": drawn[kind.name], "tried": tried, "clean": clean}
                for kind in kinds
                for tried, clean in [counts(results[kind.name])]
            },
        }
        asked.result.parent.mkdir(parents=True, exist_ok=True)
        asked.result.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    tried, clean = counts([result for found in results.values() for result in found])
    return 0 if 0 < tried == clean else 1


if __name__ == "__main__":
    sys.exit(main())
