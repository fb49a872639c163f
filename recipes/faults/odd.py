"""Values that no option expects: numbers, texts and paths, drawn at random, and the odd things that paths lead to."""

from __future__ import annotations

import os
import random
import socket
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LETTERS = string.ascii_letters + string.digits + "_-. "
STRANGE = "äßñ文ก\u00a0\u200d\u202e\u2028\u0301😀"
CONTROLS = "\n\t\r\x01\x07\x1b\x7f\x85"
DEVICES = ("/dev/zero", "/dev/null", "/dev/full", "/dev/random", "/proc/self/mem", "/proc/self/fd", "/dev/fd/0")
HOLDER = "odd"  # folder of the things that paths lead to


@dataclass(frozen=True)
class Odd:
    """A value, by what is odd about it.

    Attributes:
        kind: what is odd, in a few words.
        text: the value as a flag takes it.
    """

    kind: str
    text: str


def number(rng: random.Random) -> Odd:
    """A number as nobody means it, or what is none."""
    digits = rng.randint(2, 6)
    kinds: dict[str, Callable[[], str]] = {
        "huge": lambda: f"{rng.choice(['', '-'])}{rng.randint(1, 9)}e{rng.randint(10, 308)}",
        "beyond a double": lambda: f"{rng.randint(1, 9)}e{rng.randint(309, 10**5)}",
        "large and whole": lambda: str(rng.randint(2 * 10**9, 10 ** rng.randint(10, 40))),
        "negative": lambda: str(-rng.randint(1, 10**digits)),
        "tiny": lambda: f"{rng.randint(1, 9)}e-{rng.randint(4, 330)}",
        "no number": lambda: rng.choice(["nan", "inf", "-inf", "Infinity", "-nan", "NaN"]),
        "zero": lambda: rng.choice(["0", "-0", "-0.0", "0e5", "00", "0.0"]),
        "long": lambda: rng.choice("123456789") + "".join(rng.choices(string.digits, k=rng.randint(4_301, 9_000))),
        "another base": lambda: rng.choice([hex, oct, bin])(rng.randint(1, 10**digits)),
        "underscores": lambda: f"1_{rng.randint(0, 3)}",
        "digits of another script": lambda: "".join(chr(rng.choice([0x660, 0x966, 0xFF10]) + int(c)) for c in "12"),
        "commas": lambda: f"{rng.randint(1, 9)},{rng.randint(0, 999)}",
        "a fraction": lambda: f"{rng.randint(1, 99)}/{rng.randint(1, 99)}",
        "broken": lambda: f"{rng.randint(1, 9)}e{rng.choice(['', '+', '3.5', 'x'])}",
        "a word": lambda: rng.choice(["true", "None", "auto", "many", "yes", "[1]", "{}", "1 2", "0x", "½", "Ⅷ"]),
        "spaces": lambda: rng.choice(["", " ", "\t", f" {rng.randint(1, 3)} "]),
    }
    kind = rng.choice(sorted(kinds))
    return Odd(f"number {kind}", kinds[kind]())


def text(rng: random.Random) -> Odd:
    """A text that can be no name, or hardly one."""
    kinds: dict[str, Callable[[], str]] = {
        "empty": lambda: "",
        "blank": lambda: rng.choice(" \t\n\u00a0") * rng.randint(1, 9),
        "long name": lambda: rng.choice(LETTERS.strip(" -.")) * rng.randint(256, 4_000),
        "long name of several bytes": lambda: rng.choice("äß文😀") * rng.randint(128, 900),
        "very long": lambda: "".join(rng.choices(LETTERS, k=rng.randint(5_000, 60_000))).strip(" -") or "x",
        "long path": lambda: "/".join(["x" * rng.randint(1, 250)] * rng.randint(30, 300)),
        "controls": lambda: _mixed(rng, CONTROLS),
        "strange characters": lambda: _mixed(rng, STRANGE),
        "no UTF-8": lambda: _mixed(rng, "\udc80\udcff\udcc3"),
        "nobody's home": lambda: f"~nobody{rng.randint(0, 999)}{rng.choice(['', '/', '/x', '/../y'])}",
        "templates": lambda: rng.choice(["%s", "%(x)d", "{0}", "{task}", "$HOME", "`id`", "%%n", "\\N{BULLET}", "\\"]),
        "a word": lambda: rng.choice(["-", "--", "none", "None", "null", "nan", "@", "*", "?", ":", "=", ",", "a:b"]),
        "like a Hub id": lambda: rng.choice(
            ["a/b", "a//b", "a/", "a b/c", "a/b@c", "é/ü", "x" * 97 + "/y", "..", "a..b"]
        ),
        "like a callable": lambda: rng.choice(["no_module:f", "os:getcwd", "a.b:c", ":f", "a:", "json:dumps"]),
        "dots": lambda: rng.choice(["./", "./.", "../no/../such", ".hidden", "...", "./x/.."]),
    }
    kind = rng.choice(sorted(kinds))
    return Odd(f"text {kind}", kinds[kind]())


def path(rng: random.Random, suffix: str = "") -> Odd:
    """A path that leads to something else than a file or a new name; `make` makes what it leads to."""
    kinds = {
        "nothing": f"{HOLDER}/nothing{rng.randint(0, 999)}{suffix}",
        "through a file": f"{HOLDER}/file{suffix}/{'x/' * rng.randint(0, 3)}inner{suffix}",
        "a loop of links": f"{HOLDER}/loop{suffix}",
        "through a loop": f"{HOLDER}/loop{suffix}/x{suffix}",
        "a link to nothing": f"{HOLDER}/broken{suffix}",
        "a folder": f"{HOLDER}/folder{suffix}",
        "an empty file": f"{HOLDER}/empty{suffix}",
        "a file of other bytes": f"{HOLDER}/file{suffix}",
        "a pipe": f"{HOLDER}/pipe{suffix}",
        "a link to a pipe": f"{HOLDER}/to-pipe{suffix}",
        "a socket": f"{HOLDER}/socket{suffix}",
        "below a pipe": f"{HOLDER}/pipe{suffix}/x",
        "a device": rng.choice(DEVICES),
        "below a device": f"{rng.choice(DEVICES)}/x",
        "a long name": f"{HOLDER}/{'y' * rng.randint(200, 255 - len(suffix))}{suffix}",
        "a name that is too long": f"{HOLDER}/{'z' * rng.randint(256, 2_000)}{suffix}",
    }
    kind = rng.choice(sorted(kinds))
    return Odd(f"path {kind}", kinds[kind])


def make(folder: Path, suffixes: tuple[str, ...]) -> None:
    """Make what `path` leads to, below ``folder / HOLDER``, for each suffix."""
    holder = folder / HOLDER
    holder.mkdir()
    for suffix in suffixes:
        (holder / f"file{suffix}").write_bytes(bytes(range(256)))
        (holder / f"empty{suffix}").write_bytes(b"")
        (holder / f"loop{suffix}").symlink_to(f"loop{suffix}")
        (holder / f"broken{suffix}").symlink_to("not-there")
        (holder / f"folder{suffix}").mkdir()
        (holder / f"folder{suffix}" / "x").write_text("x", encoding="utf-8")
        os.mkfifo(holder / f"pipe{suffix}")
        (holder / f"to-pipe{suffix}").symlink_to(f"pipe{suffix}")
        with socket.socket(socket.AF_UNIX) as server:
            here = Path.cwd()
            os.chdir(holder)  # a socket's path has at most 107 bytes
            server.bind(f"socket{suffix}")
            os.chdir(here)


def _mixed(rng: random.Random, among: str) -> str:
    letters = [*rng.choices(LETTERS, k=rng.randint(0, 20)), *rng.choices(among, k=rng.randint(1, 4))]
    rng.shuffle(letters)
    return "x" + "".join(letters)


def content(folder: Path) -> set[str]:
    """Paths of all that is below a folder, the campaign's own output files left out."""
    return {
        found
        for here, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if not (found := os.path.relpath(Path(here, name), folder)).startswith(".commands")
    }
