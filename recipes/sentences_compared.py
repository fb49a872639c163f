"""Do two versions of zskd find the same sentences in the same text, and how fast?

Both are checked out. Each reads the files, and the embedded text, in turns with the other; passages whose sentences
differ are counted by kind and a few are kept. English text should have none: its pools are named by their sentences.

    python -m recipes.sentences_compared OLD_COMMIT [NEW_COMMIT] --data DIR [--repeats 5]

DIR holds the ``.txt`` files. Of zskd the recipe knows `zskd.text.clean.sentences` and the embedded text, and it imports
none of it. Exit code 1: some passage has other sentences.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from recipes.checkouts import RunFailed, Version, checked_out, end_of

RESULT = Path("docs/results/sentences.json")
EMBEDDED = "embedded"
EXAMPLES = 20  # differing passages that are kept, of each file

# Runs in either version: the passages of a file, or of the embedded text, to a list of sentences each.
_READER = """
import json, sys, time
from zskd.text.clean import sentences
name, target = sys.argv[1:]
if name == "embedded":
    from zskd.text.embedded import embedded_documents
    passages = list(embedded_documents())
else:
    with open(name, encoding="utf-8") as file:
        passages = [line for line in file if line.strip()]
started = time.perf_counter()
found = [list(sentences(passage)) for passage in passages]
seconds = time.perf_counter() - started
with open(target, "w", encoding="utf-8") as file:
    json.dump({"passages": passages, "sentences": found, "seconds": seconds}, file)
"""


def read(version: Version, source: str, work: Path) -> dict[str, Any]:
    """``passages``, their ``sentences`` and the ``seconds`` that splitting took.

    Raises:
        RunFailed: the version could not read the source.
    """
    target, log = work / f"{version.name}.json", work / f"{version.name}.log"
    process = version.python("-c", _READER, source, str(target), log=log)
    process.communicate()
    if process.returncode:
        raise RunFailed(f"{version.name}, {source}: {end_of(log)}")
    found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return found


def kind(old: list[str], new: list[str]) -> str:
    """What happened to a passage's sentences."""
    if "".join(old).replace(" ", "") == "".join(new).replace(" ", ""):
        return "split at more places" if len(new) > len(old) else "split at fewer or other places"
    gone, come = set(old) - set(new), set(new) - set(old)
    return "more text is kept" if not gone else "less text is kept" if not come else "other text is kept"


def compared(old: list[list[str]], new: list[list[str]]) -> dict[str, Any]:
    """Numbers of sentences, and differing passages by kind, with examples."""
    different = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    return {
        "passages": len(old),
        "sentences": {"old": sum(map(len, old)), "new": sum(map(len, new))},
        "different": dict(Counter(kind(a, b) for a, b in different)),
        "examples": [
            {"kind": kind(a, b), "old": [s for s in a if s not in b], "new": [s for s in b if s not in a]}
            for a, b in different[:EXAMPLES]
        ],
    }


def compare(versions: tuple[Version, Version], source: str, work: Path, repeats: int) -> dict[str, Any]:
    """The comparison of one source, with passages a second: the median of `repeats` runs in turns."""
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, list[float]] = {version.name: [] for version in versions}
    for _ in range(repeats):
        for version in versions:
            found[version.name] = read(version, source, work)
            seconds[version.name].append(found[version.name]["seconds"])
    old, new = found["old"], found["new"]
    if old["passages"] != new["passages"]:
        raise RunFailed(f"{source}: the versions read other passages, so their sentences do not compare")
    speed = {name: round(len(old["passages"]) / statistics.median(each)) for name, each in seconds.items()}
    return {**compared(old["sentences"], new["sentences"]), "passages_per_second": speed}


def table(results: dict[str, dict[str, Any]]) -> str:
    """One line a source."""
    lines = [f"{'':14}{'passages':>10}{'sentences':>11}{'new':>9}{'differ':>8}{'per second':>12}{'new':>9}"]
    for name, found in results.items():
        sentences, speed = found["sentences"], found["passages_per_second"]
        lines.append(
            f"{name:14}{found['passages']:>10,}{sentences['old']:>11,}{sentences['new']:>9,}"
            f"{sum(found['different'].values()):>8,}{speed['old']:>12,}{speed['new']:>9,}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Compare, print a table, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD_COMMIT")
    parser.add_argument("new", metavar="NEW_COMMIT", nargs="?", default="HEAD")
    parser.add_argument("--data", type=Path, required=True, help="folder with .txt files")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each version (default 5)")
    parser.add_argument("--output", type=Path, default=RESULT, help=f"default {RESULT}")
    options = parser.parse_args(arguments)
    files = sorted(options.data.expanduser().resolve().glob("*.txt"))
    if not files:
        parser.error(f"--data {options.data}: expected a folder with .txt files, found none in it")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        work = Path(folder).resolve()
        old, new = (stack.enter_context(checked_out(name, getattr(options, name), work)) for name in ("old", "new"))
        sources = {**{path.stem: str(path) for path in files}, EMBEDDED: EMBEDDED}
        results = {name: compare((old, new), source, work, options.repeats) for name, source in sources.items()}
        content = {"old": old.commit, "new": new.commit, "sources": results}
    options.output.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(results))
    return int(any(found["different"] for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())
