"""Text files that are spoilt: lines, JSON records, gzip, parquet, labelled tables; each way with its exit codes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

WRONG, FINE, EITHER = (2,), (0,), (0, 2)

# Changes lines of bytes; returns the whole file.
Spoiler: TypeAlias = Callable[[list[bytes], random.Random], bytes]


def joined(lines: list[bytes], end: bytes = b"\n") -> bytes:
    """Lines as a file has them."""
    return end.join(lines) + end


def one_line(change: Callable[[bytes, random.Random], bytes], *, first: int = 0) -> Spoiler:
    """Change a drawn line, not before the line `first`."""

    def spoil(lines: list[bytes], rng: random.Random) -> bytes:
        at = rng.randrange(first, len(lines))
        return joined([*lines[:at], change(lines[at], rng), *lines[at + 1 :]])

    return spoil


def within(*parts: bytes) -> Callable[[bytes, random.Random], bytes]:
    """One of some bytes at a drawn place of the line, between two characters of it."""

    def change(line: bytes, rng: random.Random) -> bytes:
        at = rng.randrange(len(line) + 1)
        return line[:at] + rng.choice(parts) + line[at:]

    return change


def encoded(*names: str) -> Spoiler:
    """The whole file in another encoding."""
    return lambda lines, rng: joined(lines).decode().encode(rng.choice(names))


def compressed(content: bytes, rng: random.Random) -> bytes:
    """The file in a format that compresses."""
    holder = io.BytesIO()
    with zipfile.ZipFile(holder, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("corpus.txt", content)
    return rng.choice([gzip.compress(content), bz2.compress(content), lzma.compress(content), holder.getvalue()])


def flipped(content: bytes, rng: random.Random) -> bytes:
    """One bit flipped."""
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


NOT_UTF8 = (b"\xff", b"\xe9", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\x80")
ANY: dict[str, tuple[Spoiler, tuple[int, ...]]] = {
    "whole": (lambda lines, rng: joined(lines), FINE),
    "no UTF-8": (one_line(within(*NOT_UTF8)), WRONG),
    "another encoding": (encoded("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"), WRONG),
    "a byte-order mark": (lambda lines, rng: b"\xef\xbb\xbf" + joined(lines), FINE),
    "carriage returns and line feeds": (lambda lines, rng: joined(lines, b"\r\n"), FINE),
    "blank lines": (lambda lines, rng: joined([*lines, *[b""] * rng.randint(1, 9)]), FINE),
    "no line feed at the end": (lambda lines, rng: joined(lines)[:-1], FINE),
    "nothing": (lambda lines, rng: b"", WRONG),
    "only white space": (lambda lines, rng: rng.choice([b" ", b"\n", b"\r\n", b"\t\n"]) * rng.randint(1, 9_999), WRONG),
    "compressed, by its content": (lambda lines, rng: compressed(joined(lines), rng), WRONG),
    "random bytes": (lambda lines, rng: b"\xff" + rng.randbytes(rng.randint(1, 9_999)), WRONG),
    "zeros": (lambda lines, rng: bytes(rng.randint(1, 9_999)), WRONG),
    "zeros at the end": (lambda lines, rng: joined(lines) + bytes(rng.randint(1, 9_999)), EITHER),
}
PLAIN = ANY | {
    "NUL": (one_line(within(b"\0")), WRONG),
    "carriage returns": (lambda lines, rng: joined(lines, b"\r"), FINE),
    "a huge line": (one_line(lambda line, rng: rng.choice([b"a", b" ", b"a ", b"\xc3\xa9"]) * 700_000 + line), FINE),
    "control characters": (one_line(within(b"\x1b[2J", b"\x07", b"\x0b", b"\x0c", b"\x1c", b"\xc2\x85")), FINE),
    "odd characters": (
        one_line(within(*(text.encode() for text in ("\u2028", "\u202e", "\ufffe", "\U0010ffff")))),
        FINE,
    ),
    "too few": (lambda lines, rng: joined(lines[: rng.randrange(1, 150)]), WRONG),
    "one line again and again": (lambda lines, rng: joined([rng.choice(lines)] * 600), WRONG),
}


def as_json(*values: Any) -> Callable[[bytes, random.Random], bytes]:
    """One of some values in place of a record."""
    return lambda line, rng: json.dumps(rng.choice(values)).encode()


def as_text(*lines: bytes) -> Callable[[bytes, random.Random], bytes]:
    """One of some lines in place of a record."""
    return lambda line, rng: rng.choice(lines)


_HALF = {"text_a": "half a pair"}
RECORDS = ANY | {
    "a record cut": (one_line(lambda line, rng: line[: rng.randrange(1, len(line))]), WRONG),
    "no object": (one_line(as_json([], ["text"], 3, None, True, "text", [{"text": "a"}])), WRONG),
    "no text": (
        one_line(as_json({}, {"Text": "a"}, _HALF, {"text": None}, {"text": 3}, {"text": ["a"]}, {"text": {}})),
        WRONG,
    ),
    "no JSON": (
        one_line(
            as_text(b"{'text': 'a'}", b'{"text": "a",}', b'{"text": a}', b'{"text": "a"} {}', b"#", b'{"text": "\t"}')
        ),
        WRONG,
    ),
    "a text twice": (one_line(as_text(b'{"text": "a", "text": "b"}', b'{"text": "a", "te\\u0078t": "b"}')), EITHER),
    "deep": (one_line(lambda line, rng: b'{"text": "a", "more": ' + b"[" * 99_999 + b"]" * 99_999 + b"}"), WRONG),
    "other fields": (
        one_line(lambda line, rng: line[:-1] + b', "n": ' + rng.choice([b"9" * 6_000, b"NaN", b"1e999"]) + b"}"),
        FINE,
    ),
    "escaped": (
        one_line(as_text(b'{"text": "a \\ud800 b"}', b'{"text": "a \\u0000 b"}', b'{"text": ""}', b'{"text": " "}')),
        FINE,
    ),
    "one list": (lambda lines, rng: b"[" + b",\n".join(lines) + b"]\n", WRONG),
    "over several lines": (
        lambda lines, rng: b"\n".join(json.dumps(json.loads(line), indent=1).encode() for line in lines),
        WRONG,
    ),
}


def gzipped(lines: list[bytes], rng: random.Random, name: str) -> bytes:
    """A gzip file; what is wrong with it is in its name."""
    content = gzip.compress(joined(lines))
    made = {
        "whole": content,
        "two members": content + gzip.compress(joined(lines[::-1])),
        "zeros after it": content + bytes(rng.randint(1, 99)),
        "bytes after it": content + rng.choice([b"more", b"\x1f\x8b", b"\x1f\x8b\x08\x00"]),
        "cut": content[: rng.randrange(1, len(content))],
        "one bit": flipped(content, rng),
        "plain": joined(lines),
        "empty": b"",
        "nothing in it": gzip.compress(b""),
        "no UTF-8 in it": gzip.compress(one_line(within(*NOT_UTF8))(lines, rng)),
        "in itself": gzip.compress(content),
    }
    return made[name]


GZIPPED = {
    "whole": FINE, "two members": FINE, "zeros after it": FINE, "bytes after it": EITHER, "cut": WRONG,
    "one bit": EITHER, "plain": WRONG, "empty": WRONG, "nothing in it": WRONG, "no UTF-8 in it": WRONG,
    "in itself": WRONG,
}  # fmt: skip


def parquet(lines: list[bytes], rng: random.Random, name: str) -> bytes:
    """A parquet file; what is wrong with it is in its name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts: Any = [line.decode() for line in lines]
    at = rng.randrange(len(texts))
    columns: dict[str, Any] = {
        "other columns": {"body": texts},
        "null": {"text": [*texts[:at], None, *texts[at + 1 :]]},
        "numbers": {"text": list(range(len(texts)))},
        "lists": {"text": [[text] for text in texts]},
        "bytes": {"text": lines},
        "no rows": {"text": pa.array([], pa.string())},
        "no UTF-8": {"text": _unchecked([*lines[:at], b"\xff\xfe", *lines[at + 1 :]])},
        "categories": {"text": pa.array(texts).dictionary_encode()},
        "half a pair": {"text_a": texts},
    }  # fmt: skip
    holder = io.BytesIO()
    pq.write_table(pa.table(columns.get(name, {"text": texts})), holder)
    content = holder.getvalue()
    return {
        "cut": content[: rng.randrange(1, len(content))],
        "one bit": flipped(content, rng),
        "random bytes": rng.randbytes(rng.randint(1, 9_999)),
        "empty": b"",
        "only the magic": b"PAR1PAR1",
    }.get(name, content)


def _unchecked(lines: list[bytes]) -> Any:
    """A column of text that Arrow has not looked at."""
    import pyarrow as pa

    array = pa.array(lines, pa.binary())
    return pa.StringArray.from_buffers(len(array), array.buffers()[1], array.buffers()[2])


PARQUET = {
    "whole": FINE, "categories": FINE, "other columns": WRONG, "null": WRONG, "numbers": WRONG, "lists": WRONG,
    "bytes": WRONG, "no rows": WRONG, "no UTF-8": WRONG, "half a pair": WRONG, "cut": WRONG, "one bit": EITHER,
    "random bytes": WRONG, "empty": WRONG, "only the magic": WRONG,
}  # fmt: skip

# Rows below a header; the text stands before the label.
_LABELS = (b"2", b"-1", b"", b" 1", b"1 ", b"+1", b"1.0", b"0x1", b"positive", b"nan", "\u0661".encode(), b"1" * 5_000)


def _label(line: bytes, rng: random.Random) -> bytes:
    return line.rpartition(b"\t")[0] + b"\t" + rng.choice(_LABELS)


BAD_ROWS: dict[str, Spoiler] = {
    "a label": one_line(_label, first=1),
    "a column more": one_line(lambda line, rng: line + b"\t" + rng.choice([b"", b"0", b"x"]), first=1),
    "a column less": one_line(lambda line, rng: rng.choice([line.partition(b"\t")[0], b"1", b"\t\t\t"]), first=1),
    "no UTF-8 in a row": one_line(within(*NOT_UTF8), first=1),
    "a quoted line break": one_line(lambda line, rng: b'"two\nlines"\t1', first=1),
}
TABLES = ANY | {
    **{name: (spoil, WRONG) for name, spoil in BAD_ROWS.items()},
    "another header": (
        lambda lines, rng: joined(
            [
                rng.choice(
                    [b"text\tlabel", b"sentence\tclass", b"label", b"Sentence\tLabel", b"sentence label", b"a\tb\tc"]
                ),
                *lines[1:],
            ]
        ),
        WRONG,
    ),
    "no header": (lambda lines, rng: joined(lines[1:]), WRONG),
    "a column twice": (
        lambda lines, rng: joined([b"sentence\tlabel\tlabel", *(line + b"\t1" for line in lines[1:])]),
        WRONG,
    ),
    "a quoted header": (lambda lines, rng: joined([b'"sentence"\t"label"', *lines[1:]]), WRONG),
    "NUL in the header": (lambda lines, rng: joined([b"sentence\0\tlabel", *lines[1:]]), WRONG),
    "another separator": (
        lambda lines, rng: joined(lines).replace(b"\t", rng.choice([b",", b";", b" ", b"|", b"\t\t"])),
        WRONG,
    ),
    "only a header": (lambda lines, rng: joined(lines[:1]), WRONG),
    "carriage returns": (lambda lines, rng: joined(lines, b"\r"), WRONG),
    "a huge header": (lambda lines, rng: b"x" * rng.randint(70_000, 3_000_000) + joined(lines), WRONG),
    "another order, a column more": (
        lambda lines, rng: joined([b"\t".join([*line.split(b"\t")[::-1], b"x"]) for line in lines]),
        FINE,
    ),
    "NUL in a text": (one_line(lambda line, rng: b"\0" + line, first=1), FINE),
    "an empty text": (one_line(lambda line, rng: rng.choice([b"", b" ", b"\xc2\xa0"]) + b"\t1", first=1), FINE),
    "a huge text": (
        one_line(lambda line, rng: rng.choice([b"a", b"a ", b"\xc3\xa9"]) * 700_000 + b"\t1", first=1),
        FINE,
    ),
    "quotes": (
        one_line(lambda line, rng: rng.choice([b'"', b'"a" b', b'"a ""b"""', b"'", b'\\"']) + b"\t1", first=1),
        FINE,
    ),
}


def odd_place(path: Path, rng: random.Random, content: bytes) -> tuple[str, tuple[int, ...]]:
    """Put something else than a file at `path`; what it is, and the exit codes that are right."""
    what = rng.choice(["nothing", "a folder", "a pipe", "a dangling link", "a link to itself", "a device", "a link"])
    if what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a dangling link":
        path.symlink_to("nowhere")
    elif what == "a link to itself":
        path.symlink_to(path.name)
    elif what == "a device":
        path.symlink_to(rng.choice(["/dev/null", "/dev/zero", "/dev/full"]))
    elif what == "a link":
        (elsewhere := path.with_name(f"elsewhere{path.suffix}")).write_bytes(content)
        path.symlink_to(elsewhere)
    return what, FINE if what == "a link" else WRONG
