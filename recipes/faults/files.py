"""YAML that people wrote wrong: configurations and task files, mutated in their structure or their bytes.

Clean is a message for each problem and nothing written, or a file that is valid after all: then `validate` prints the
options that a plain YAML loader reads in it.
"""

from __future__ import annotations

import functools
import gzip
import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from recipes.faults import odd
from recipes.faults.case import Case, complaints
from recipes.faults.commands import run
from recipes.faults.flags import CACHE, LIMIT, OUTPUT, error_lines
from recipes.faults.world import OPTIONS, World

TOPICS: dict[str, Any] = {
    "name": "desk",
    "text_columns": ["mail"],
    "label_column": "desk",
    "labels": ["negative", "positive"],
    "file_labels": {"0": "negative", "1": "positive"},
    "inputs": ["text"],
    "folder": "",
    "dev_files": {"dev": "dev.tsv"},
    "metrics": ["accuracy"],
    "max_length": 32,
    "teacher": "",
    "student": "",
    "teacher_labels": {"LABEL_0": "negative", "LABEL_1": "positive"},
    "hub_config": "",
    "hub_splits": {},
    "hub_columns": [],
    "probe": "probe.tsv",
}
PROBE = "mail\tdesk\n" + "a fine film\t1\na dull film\t0\n" * 4
RAN = "code-ran"  # a file that a tag would make if it were followed
_FINETUNE = {
    "rank": 4,
    "epochs": 1.0,
    "batch_size": 16,
    "checkpoints": 2,
    "max_rows": 64,
    "precision": "fp32",
    "full": False,
}

# What YAML writes for some values.
_ODD_NUMBERS = (".nan", ".inf", "-.inf", "1e400", "-0.0", "1e30", "0o17", "1__0", "+-1", "0x")
_WRONG_TAGS = ("!!int abc", "!!float x", "!!bool 3", "!!timestamp x", "!!null x", "!!map 3", "!!seq x")
_OTHER_TYPES = ("!!binary aGVsbG8=", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!binary '***'")
_PYTHON_TAGS = (
    f'!!python/object/apply:os.system ["touch {RAN}"]', f'!!python/object/new:os.system ["touch {RAN}"]',
    "!!python/name:os.system", "!!python/tuple [1]", "!!python/object:zskd.Task {}",
)  # fmt: skip
_ESCAPES = (
    '"a\\0b"', '"\\ud800"', '"\\x07"', '"a\\nb"', '"\\u2028"', '"\\q"', '"\\U00110000"', '"\\udc80x"'
)  # fmt: skip
_HALF_OPEN = ("[1, 2", "{a: 1", '"open', "'open", "[}", "|2", ">-x", "%x", "@x", "`x")
_STRANGE_KEYS = (
    "1: 1", "null: 1", "yes: 1", "2026-01-01: 1", "? [a]\n: 1", "? {a: 1}\n: 1", ".nan: 1", f"{'k' * 900}: 1", "1.5: 1",
    '"\\0": 1', "? |\n  a\n  b\n: 1", "!!binary aGVsbG8=: 1", f"0x{'f' * 9_000}: 1",
)  # fmt: skip
_MERGES = (
    "<<: {seed: 1}",
    "<<: {labels: 1}", "<<: 3", "<<: [1, 2]", "<<: *a", "<<: &a {<<: *a}", "base: &b {seed: 1}\n<<: *b",
    "<<: [{seed: 3}, {seed: 4}]",
)  # fmt: skip
_DIRECTIVES = ("%YAML 9.9\n---", "%YAML 1.1\n---", "%TAG ! tag:x,2026:\n---", "%X y\n---", "%YAML", "%TAG !! x\n---")
_TOPS = (
    "", "# nothing", "- a\n- b", "words", "3", "---", "...", "null", "{}", "[]", "!!set {a}", "2026-01-01",
    "? [a]\n: b", "? {a: 1}\n: b", "true", '"text"', "!!binary aGVsbG8=", "? \n: ",
)  # fmt: skip
_CONTROLS = (b"\x07", b"\x1b[2J", b"\x7f", b"\xc2\x85", b"\xe2\x80\xa8", b"\r")
_NO_UTF8 = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80")
_MARKS = (b"\xef\xbb\xbf", b": ", b"- ", b"#", b"&a ", b"*a", b"!!int ")
_ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "cp037", "utf-7", "utf-8-sig")

Mutation = Callable[[random.Random, dict[str, Any]], bytes]


def cases(count: int, rng: random.Random) -> list[Case]:
    """Configurations for `validate` and `finetune`, and task files for `validate` and `evaluate`."""
    found: dict[str, Case] = {}
    mutations = [*_WHOLE, *[name for name in _VALUES for _ in range(2)], *_BYTES]
    while len(found) < count:
        verb = rng.choice(["validate", "validate", "finetune", "task validate", "task validate", "task evaluate"])
        content = TOPICS if verb.startswith("task") else _FINETUNE if verb == "finetune" else OPTIONS
        mutation, seed = rng.choice(mutations), rng.randrange(10**6)
        name = f"{verb}: {mutation} ({seed})"
        found[name] = Case(name, functools.partial(_try, verb, content, mutation, seed), limit=LIMIT + 20)
    return list(found.values())


def _try(verb: str, content: dict[str, Any], mutation: str, seed: int, world: World, scratch: Path) -> list[str]:
    rng = random.Random(f"{seed} {mutation}")
    path = scratch / "given.yaml"
    healthy = content
    if content is OPTIONS:
        healthy = {**content, "teacher": str(world.teacher), "corpus": [str(world.corpus)]}
    written = _mutated(rng, healthy, mutation)
    path.write_bytes(written)
    (scratch / "probe.tsv").write_text(PROBE, encoding="utf-8")
    before = odd.content(scratch)
    places: list[object] = ["--output-dir", OUTPUT, "--cache-dir", CACHE]
    if verb == "validate":
        arguments: list[object] = ["validate", "--config", path, *places]
    elif verb == "finetune":
        # Without a base there is nothing to train, whatever the file says.
        arguments = [
            "finetune",
            "--config",
            path,
            "--task",
            "sst2",
            "--glue-dir",
            world.glue,
            "--base",
            "./none",
            *places,
        ]
    elif verb == "task validate":
        arguments = ["validate", "--config", world.options, "--task", path, *places]
    else:
        arguments = ["evaluate", "--model", world.teacher, "--task", path, "--data", "probe", *places[2:]]
    done = run(scratch, *arguments, limit=LIMIT)
    found = complaints(done, (2,) if verb == "finetune" or mutation in _ALWAYS_WRONG else (0, 2)) + error_lines(done)
    if (scratch / RAN).exists():
        found.append("a tag of the file ran code")
    if done.code == 2 and (new := sorted(odd.content(scratch) - before)):
        found.append(f"written although the input is wrong: {new[:5]}")
    if done.code == 0 and verb == "validate":
        printed, wanted = yaml.safe_load(done.out), yaml.safe_load(written.decode("utf-8-sig")) or {}
        found += [
            f"{key}: expected {value!r} in what validate prints, found {printed.get(key)!r}"
            for key, value in wanted.items()
            if not _same(printed.get(key), value)
        ]
    return found


def _same(printed: Any, given: Any) -> bool:
    """Whether an option has the value of the file: as a number, as a text, or as a list of one text."""
    if isinstance(printed, list):
        return printed == [str(item) for item in (given if isinstance(given, list) else [given])]
    if isinstance(printed, bool) or printed is None or isinstance(given, bool):
        return printed is given
    return printed == (float(given) if isinstance(printed, int | float) else str(given))


def _mutated(rng: random.Random, content: dict[str, Any], mutation: str) -> bytes:
    if mutation in _WHOLE:
        return _WHOLE[mutation](rng, content)
    if mutation in _VALUES:
        lines = {key: f"{key}: {_quoted(value)}" for key, value in content.items()}
        for key in rng.sample(sorted(content), rng.randint(1, 3)):
            lines[key] = f"{key}: {_VALUES[mutation](rng)}"
        return "\n".join([*lines.values(), ""]).encode("utf-8", "surrogatepass")
    return _BYTES[mutation](rng, _dump(content))


def _dump(content: dict[str, Any]) -> bytes:
    return yaml.safe_dump(content, sort_keys=False).encode()


def _without(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}


def _quoted(value: Any) -> str:
    """A value as YAML writes it in a line; lone surrogates are replaced."""
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()


def _word(rng: random.Random, least: int = 1, most: int = 12) -> str:
    return "".join(rng.choices(string.ascii_letters, k=rng.randint(least, most)))


# A value of some keys, as YAML writes it.
_VALUES: dict[str, Callable[[random.Random], str]] = {
    "a list": lambda rng: f"[{', '.join(_word(rng) for _ in range(rng.randint(0, 9)))}]",
    "a list in lists": lambda rng: "[" * (depth := rng.randint(1, 15)) + _word(rng) + "]" * depth,
    "a mapping": lambda rng: f"{{{', '.join(f'{_word(rng)}: {rng.randint(0, 9)}' for _ in range(rng.randint(0, 9)))}}}",
    "nothing": lambda rng: rng.choice(["", "~", "null", '""', "''", "' '"]),
    "yes or no": lambda rng: rng.choice(["yes", "no", "on", "off", "true", "False"]),
    "a date": lambda rng: f"{rng.randint(1, 9_999):04}-{rng.randint(0, 20):02}-{rng.randint(0, 40):02}",
    "a time": lambda rng: f"2026-01-02 {rng.randint(0, 40)}:{rng.randint(0, 70):02}:{rng.randint(0, 70):02}",
    "sexagesimal": lambda rng: f"{rng.randint(1, 99)}:{rng.randint(10, 59)}",
    "a long number": lambda rng: "".join(rng.choices("123456789", k=rng.randint(4_301, 30_000))),
    "a long hexadecimal number": lambda rng: "0x" + "".join(rng.choices("123456789abcdef", k=rng.randint(300, 30_000))),
    "an odd number": lambda rng: rng.choice(_ODD_NUMBERS),
    "a huge number": lambda rng: f"{rng.randint(1, 9)}.0e+{rng.randint(9, 308)}",
    "a negative number": lambda rng: str(-rng.randint(1, 10**9)),
    "a number of a flag": lambda rng: _quoted(odd.number(rng).text),
    "a wrong tag": lambda rng: rng.choice(_WRONG_TAGS),
    "a tag of another type": lambda rng: rng.choice(_OTHER_TYPES),
    "a tag of Python": lambda rng: rng.choice(_PYTHON_TAGS),
    "an unknown tag": lambda rng: f"!{_word(rng)} {_word(rng)}",
    "an escape": lambda rng: rng.choice(_ESCAPES),
    "a long text": lambda rng: _word(rng, 256, 60_000),
    "an odd text": lambda rng: _quoted(odd.text(rng).text),
    "an odd path": lambda rng: odd.path(rng).text,
    "an alias without target": lambda rng: f"*{_word(rng)}",
    "an anchor in itself": lambda rng: f"&{(name := _word(rng))} [*{name}]",
    "an anchor": lambda rng: f"&{_word(rng)} {rng.randint(1, 99)}",
    "a half-open bracket": lambda rng: rng.choice(_HALF_OPEN),
    "a block": lambda rng: f"|\n  {_word(rng)}\n  {_word(rng)}",
    "a nested key": lambda rng: f"{_word(rng)}: {_word(rng)}",
}  # fmt: skip


def _more(lines: Callable[[random.Random, dict[str, Any]], str], *, first: bool = False) -> Mutation:
    def mutate(rng: random.Random, content: dict[str, Any]) -> bytes:
        added = lines(rng, content).encode("utf-8", "surrogatepass")
        return added + b"\n" + _dump(content) if first else _dump(content) + added + b"\n"

    return mutate


def _bomb(rng: random.Random, content: dict[str, Any]) -> str:
    width, depth, key = rng.randint(6, 30), rng.randint(6, 40), rng.choice(sorted(content))
    lines = [f"x0: &x0 [{', '.join(['lol'] * width)}]"]
    lines += [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * width)}]" for i in range(1, depth)]
    return "\n".join([*lines, f"{rng.choice([key, 'more'])}: *x{depth - 1}"])


def _deep(rng: random.Random, content: dict[str, Any]) -> str:
    depth, key = rng.randint(21, 5_000), rng.choice([*sorted(content), _word(rng)])
    kind = rng.choice(["flow list", "flow mapping", "block list", "block mapping", "keys"])
    if kind == "flow list":
        return f"more: {'[' * depth}{']' * depth}"
    if kind == "flow mapping":
        return f"{key}: {'{a: ' * depth}1{'}' * depth}"
    if kind == "block list":
        return f"more:\n {'- ' * depth}1"
    if kind == "keys":
        return f"{'? ' * depth}a"
    return "more:\n" + "\n".join(" " * (i + 1) + "a:" for i in range(min(depth, 900)))


# The whole file.
_WHOLE: dict[str, Mutation] = {
    "an alias bomb": _more(_bomb),
    "deep": _more(_deep),
    "another kind at the top": lambda rng, content: f"{rng.choice(_TOPS)}\n".encode(),
    "a key twice": _more(lambda rng, content: f"{rng.choice(sorted(content))}: 1"),
    "a key twice within a value": _more(lambda rng, content: f"{_word(rng)}: {{a: 1, 'a': {rng.randint(1, 9)}}}"),
    "unknown keys": _more(
        lambda rng, content: "\n".join(f"{_word(rng, 4, 30)}{i}: 1" for i in range(rng.randint(1, 5_000)))
    ),
    "a strange key": _more(lambda rng, content: rng.choice(_STRANGE_KEYS)),
    "a key left out": lambda rng, content: _dump(_without(content, *rng.sample(sorted(content), 2))),
    "a merge": _more(lambda rng, content: rng.choice(_MERGES)),
    "two documents": _more(lambda rng, content: f"---\n{rng.choice(['seed: 1', '', '- a'])}"),
    "a directive": _more(lambda rng, content: rng.choice(_DIRECTIVES), first=True),
    "tabs": lambda rng, content: _dump(content).replace(b"\n", b"\n\t", rng.randint(1, 3)),
    "too large": lambda rng, content: _dump(content) + b"# " + b"x" * rng.randint(1 << 19, 3 << 20) + b"\n",
    "many values": _more(lambda rng, content: f"more: [{', '.join(['1'] * rng.randint(50_000, 170_000))}]"),
    "many lines": _more(lambda rng, content: "\n" * rng.randint(10**4, 5 * 10**5)),
}  # fmt: skip


def _inserted(rng: random.Random, data: bytes, *pieces: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(pieces) + data[at:]


def _flipped(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


# The bytes of the file.
_BYTES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "cut": lambda rng, data: data[: rng.randrange(len(data))],
    "bits flipped": _flipped,
    "NUL inside": lambda rng, data: _inserted(rng, data, b"\0", b"\0\0\0"),
    "controls inside": lambda rng, data: _inserted(rng, data, *_CONTROLS),
    "no UTF-8 inside": lambda rng, data: _inserted(rng, data, *_NO_UTF8),
    "a mark inside": lambda rng, data: _inserted(rng, data, *_MARKS),
    "another encoding": lambda rng, data: data.decode().encode(rng.choice(_ENCODINGS)),
    "packed": lambda rng, data: gzip.compress(data, mtime=0),
    "other line ends": lambda rng, data: data.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\r", b"\x0b", b"\n\n"])),
    "random bytes": lambda rng, data: rng.randbytes(rng.randint(1, 4_000)),
    "lines in another order": lambda rng, data: b"\n".join(rng.sample(lines := data.split(b"\n"), len(lines))),
    "a part again": lambda rng, data: data + data[rng.randrange(len(data)) :],
}  # fmt: skip

_ALWAYS_WRONG = (
    "an alias bomb", "deep", "a key twice", "too large", "many values", "packed", "NUL inside", "no UTF-8 inside",
    "a tag of Python", "an unknown tag", "an alias without target", "two documents", "unknown keys",
)  # fmt: skip
