"""The text files of a folder: links are followed, hidden names are not read, and what is left out is counted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Folder:
    """What a folder holds, in a fixed order.

    Attributes:
        files: files with a known suffix; each real file once.
        hidden: files with a known suffix that are hidden or below a hidden folder.
        other: files with another suffix.
        repeated: links, hard or symbolic, to a file or folder that is there by another name.
        problems: broken links and folders that cannot be opened.
    """

    files: list[Path] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)
    other: list[Path] = field(default_factory=list)
    repeated: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def left_out(self) -> str:
        """What was left out, in words; empty if nothing was."""
        kinds = sorted({path.suffix or path.name for path in self.other})
        shown = " ".join(kinds[:5]) + (" ..." if len(kinds) > 5 else "")
        parts = (
            (self.hidden, f"{len(self.hidden)} hidden (their name or a folder's begins with a dot)"),
            (self.other, f"{len(self.other)} of other kinds ({shown})"),
            (self.repeated, f"{len(self.repeated)} that are there by another name"),
        )
        return ", ".join(text for paths, text in parts if paths)


def identity(path: Path) -> tuple[int, int]:
    """Device and number of a real file or folder, the same for all its names."""
    found = path.stat()
    return found.st_dev, found.st_ino


def look_into(root: Path, suffixes: tuple[str, ...]) -> Folder:
    """Everything below a folder, to any depth and through links; a link to a folder that it is in is not followed."""
    folder = Folder()
    candidates: list[tuple[bool, Path]] = []
    known: set[tuple[int, int]] = set()
    # Folders by their own name come first, so that a link to one of them is the second name.
    waiting, linked = [root], list[Path]()
    while waiting or linked:
        here = waiting.pop() if waiting else linked.pop(0)
        own = identity(here)
        if own in known or (here != root and _contains(here.resolve(), here.parent.resolve())):
            folder.repeated.append(here)
            continue
        known.add(own)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            folder.problems.append(f"{here}: expected a folder that can be opened, found: {error.strerror}")
            continue
        for entry in entries:
            path, kind = Path(entry.path), _kind(entry, suffixes)
            if kind == "hidden":
                folder.hidden += _hidden(path, suffixes)
            elif kind == "broken":
                folder.problems.append(
                    f"{path}: expected a file or folder, found a link to {path.readlink()}, which is not there; mend "
                    "or remove the link"
                )
            elif kind == "file":
                candidates.append((entry.is_symlink(), path))
            elif kind == "other":
                folder.other.append(path)
            else:
                (linked if kind == "linked folder" else waiting).append(path)
    seen: set[tuple[int, int]] = set()
    for _, path in sorted(candidates):
        (folder.repeated if identity(path) in seen else folder.files).append(path)
        seen.add(identity(path))
    folder.files.sort()
    return folder


def _kind(entry: os.DirEntry[str], suffixes: tuple[str, ...]) -> str:
    path = Path(entry.path)  # whose questions, unlike the entry's, have an answer for a link to itself
    if entry.name.startswith("."):
        return "hidden"
    if path.is_dir():
        return "linked folder" if entry.is_symlink() else "folder"
    if path.is_file():
        return "file" if entry.name.endswith(suffixes) else "other"
    # A link that leads nowhere may have been text, or a folder of it.
    return "broken" if entry.is_symlink() and (entry.name.endswith(suffixes) or not path.suffix) else "other"


def _contains(folder: Path, inner: Path) -> bool:
    return inner == folder or folder in inner.parents


def _hidden(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if path.is_dir():
        found = (Path(here) / name for here, _, names in os.walk(path) for name in names)
        return [inner for inner in found if inner.name.endswith(suffixes)]
    return [path] if path.name.endswith(suffixes) else []
