"""Predicting labels and probabilities for lines of text as they arrive, in the order of the lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from typing import Any

import numpy as np

from zskd.errors import InputError
from zskd.inference.deferral import DEFERRED, Deferral
from zskd.inference.saved import Saved
from zskd.metrics.scores import softmax
from zskd.models.encoding import Cuts
from zskd.system.plain_text import Repairs, found_instead

logger = logging.getLogger(__name__)

CHUNK = 1 << 16  # bytes per read; lines that have arrived are answered without waiting for more
DIGITS = 6  # decimal places of a probability

Row = tuple[str, ...]


def _arriving(stream: BufferedIOBase) -> Iterator[list[bytes]]:
    """Yield the whole lines of each read; a last line without a line break counts too."""
    rest: list[bytes] = []  # of a line, joined when it ends: a line may be longer than many reads
    while chunk := stream.read1(CHUNK):
        if b"\n" not in chunk:
            rest.append(chunk)
            continue
        *lines, last = b"".join([*rest, chunk]).split(b"\n")
        rest = [last] if last else []
        yield lines
    if rest:
        yield [b"".join(rest)]


def read_rows(stream: BufferedIOBase, name: str, texts: int | None, reason: str, size: int) -> Iterator[list[Row]]:
    """Yield batches of at most `size` rows, without waiting for lines that have not arrived.

    Args:
        name: name of the file, for messages.
        texts: number of texts of an input; None to take that of the first line.
        reason: where `texts` comes from, for messages.

    Raises:
        InputError: a line is not UTF-8 or has another number of columns; rows before it have been yielded.
    """
    number = 0
    repairs, told = Repairs(), False
    for lines in _arriving(stream):
        rows: list[Row] = []
        for line in lines:
            number += 1
            try:
                where = f"{name}, line {number}"
                row = tuple(repairs.repair(text, where) for text in _parse(line, where, first=number == 1))
                if b"\r" in line.removesuffix(b"\r") and not told:
                    logger.warning(
                        "%s: has carriage returns within it, which do not end a line; it is one input", where
                    )
                    told = True
                if texts is None:
                    texts, reason = len(row), "the first line"
                    logger.info("the model does not say how many texts it reads; the first line has %d", texts)
                if len(row) != texts or len(row) > 2:
                    raise InputError(_wrong_columns(f"{name}, line {number}", len(row), texts, reason))
            except InputError:
                if rows:
                    yield rows
                raise
            rows.append(row)
            if len(rows) == size:
                yield rows
                rows = []
        if rows:
            yield rows
    repairs.say()


def _parse(line: bytes, where: str, *, first: bool) -> Row:
    try:
        # utf-8-sig: a file may begin with a byte-order mark.
        return tuple(line.removesuffix(b"\r").decode("utf-8-sig" if first else "utf-8").split("\t"))
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: expected UTF-8 text, found {found_instead(line)}") from error


def _wrong_columns(where: str, found: int, expected: int, reason: str) -> str:
    if expected > 2:
        return f"{where}: expected one text, or two separated by a tab; found {found} columns"
    wanted = "one text, without a tab" if expected == 1 else "two texts, separated by a tab"
    return f"{where}: expected {wanted} ({reason}), found {found} column{'s' * (found != 1)}"


def answer(saved: Saved, rows: list[Row], precision: str, cuts: Cuts | None = None) -> np.ndarray:
    """Probabilities ``(rows, num_labels)`` in the order of ``saved.labels``; `cuts` counts the rows that are cut."""
    columns = tuple(list(column) for column in zip(*rows, strict=True))
    return softmax(saved.classifier.logits(columns, max_length=saved.max_length, precision=precision, cuts=cuts))


def predict(
    saved: Saved,
    stream: BufferedIOBase,
    write: Callable[[str], Any],
    *,
    name: str,
    batch_size: int = 32,
    precision: str = "fp32",
    as_json: bool = False,
    deferral: Deferral | None = None,
) -> int:
    """Answer every line of `stream`; `write` is called once per batch with whole lines.

    A line of output has the label and the probability of each class, separated by tabs below a header line, or is a
    JSON object. An empty line counts as an empty text, so that input and output lines correspond. The log says how many
    lines were cut, and once that lines are longer than the model was trained on.

    With a `deferral`, the label is followed by who gave it: ``student``, ``teacher``, or ``deferred``, which has none.

    Returns:
        The number of lines answered.

    Raises:
        InputError: see `read_rows`; the lines before the wrong one have been answered.
    """
    names = [" ".join(label.split()) for label in saved.labels]
    header = "" if as_json else "\t".join(["label", *(["by"] if deferral else []), *names]) + "\n"
    cuts = Cuts(saved.max_length, saved.classifier.trained_length)
    try:
        for rows in read_rows(stream, name, saved.texts, saved.reason, batch_size):
            probabilities = answer(saved, rows, precision, cuts)
            cuts.tell_beyond(saved.classifier.name)
            by = [None] * len(rows) if deferral is None else deferral.decide(rows, probabilities)
            lines = zip(probabilities, by, strict=True)
            write(header + "".join(_line(saved.labels, found, who, as_json=as_json) for found, who in lines))
            header = ""  # not before the first line is read, which may be refused
        if header:
            write(header)
    finally:
        cuts.tell(name, "lines")
        if deferral is not None:
            deferral.tell(name)
    return cuts.rows


def _line(labels: tuple[str, ...], probabilities: np.ndarray, by: str | None, *, as_json: bool) -> str:
    label = None if by == DEFERRED else labels[int(probabilities.argmax())]
    if not as_json:
        who = [] if by is None else [by]
        return "\t".join([" ".join((label or "").split()), *who, *(f"{p:.{DIGITS}f}" for p in probabilities)]) + "\n"
    shares = {name: round(float(p), DIGITS) for name, p in zip(labels, probabilities, strict=True)}
    who_too = {} if by is None else {"by": by}
    return json.dumps({"label": label, **who_too, "probabilities": shares}, ensure_ascii=False) + "\n"
