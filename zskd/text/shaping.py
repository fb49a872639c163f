"""From sentences to classifier inputs: whole sentences and sub-spans, perturbed at random or not.

The pools depend on the corpus, the number of input texts, the options below and the seed. They never depend on
the task, its labels or the teacher.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset

from zskd.arrow import ROWS, open_arrow, write_arrow
from zskd.errors import InputError
from zskd.files import sha256_file
from zskd.text.corpus import Corpus, hash64

# Raise it when the same corpus and seed would give other inputs.
FORMAT = 1

SENTENCE_SHARE = 1 / 6  # of a pool; the rest are sub-spans
SPAN_WORDS = (2, 24)  # words of a sub-span, drawn evenly between these
MAX_RATE = 0.6  # each sub-span's share of perturbed words is drawn between 0 and this
WORD_POWER = 0.5  # inserted words are drawn in proportion to their count to this power
OPERATIONS = ("replace", "insert", "drop", "swap")
OPERATION_SHARES = (0.55, 0.15, 0.15, 0.15)
HELDOUT_LIMIT = 0.2  # held-out documents are at most this share of all

_SCHEMA = pa.schema({"text": pa.string()})


@dataclass(frozen=True)
class Pools:
    """Inputs of the task's shape, split by source document.

    Attributes:
        transfer: what the student learns from.
        select: held-out, unperturbed; chooses the checkpoint.
        report: held-out, unperturbed; reports agreement.
        fingerprint: SHA-256 over the three.
    """

    transfer: Dataset
    select: Dataset
    report: Dataset
    fingerprint: str


def split_documents(documents: np.ndarray, heldout_share: float) -> np.ndarray:
    """0 (transfer), 1 (select) or 2 (report) for each document hash, the same for every seed.

    Args:
        documents: ``(sentences,)`` uint64.
        heldout_share: share of the documents held out; half of them select, half report.
    """
    unique, inverse = np.unique(documents, return_inverse=True)
    position = np.array([hash64(str(document), "split") for document in unique.tolist()], dtype=np.float64) / 2.0**64
    parts = np.where(position < heldout_share / 2, 1, np.where(position < heldout_share, 2, 0))
    return parts[inverse]


def word_table(texts: Iterator[str]) -> tuple[list[str], np.ndarray]:
    """Distinct words of the texts and the probability ``(words,)`` of drawing each."""
    counts = Counter(word for text in texts for word in text.split() if word[0].isalpha())
    words = sorted(counts)
    weights = np.array([counts[word] for word in words], dtype=np.float64) ** WORD_POWER
    return words, weights / weights.sum()


def sub_span(words: list[str], rng: np.random.Generator) -> list[str]:
    """A contiguous part of a sentence; its length is drawn from `SPAN_WORDS`."""
    length = min(int(rng.integers(SPAN_WORDS[0], SPAN_WORDS[1] + 1)), len(words))
    start = int(rng.integers(0, len(words) - length + 1))
    return words[start : start + length]


def perturb_words(words: list[str], table: Iterator[str], rng: np.random.Generator) -> list[str]:
    """Replace, insert, drop and swap words at random; the share of changed words is itself random.

    Args:
        table: endless random words.
    """
    rate = rng.uniform(0.0, MAX_RATE)
    draws = rng.random(len(words))
    operations = rng.choice(len(OPERATIONS), size=len(words), p=OPERATION_SHARES)
    result: list[str] = []
    for word, draw, operation in zip(words, draws, operations, strict=True):
        name = OPERATIONS[operation] if draw < rate else "keep"
        if name == "replace":
            result.append(next(table))
        elif name == "insert":
            result += [word, next(table)]
        elif name == "swap" and result:
            result.insert(len(result) - 1, word)
        elif name != "drop":
            result.append(word)
    return result or [words[0]]


def _random_words(words: list[str], weights: np.ndarray, rng: np.random.Generator) -> Iterator[str]:
    while True:
        for index in rng.choice(len(words), size=4_096, p=weights):
            yield words[index]


def _transfer_texts(corpus: Dataset, rows: np.ndarray, size: int, perturb: str, seed: int) -> Iterator[str]:
    """Whole sentences first, in an order no seed changes (so that their logits are asked for once), then spans."""
    # Evenly spaced over the corpus, so that every source is represented.
    whole = rows[np.linspace(0, len(rows), min(len(rows), int(size * SENTENCE_SHARE)), endpoint=False, dtype=np.int64)]
    for start in range(0, len(whole), ROWS):
        yield from corpus[whole[start : start + ROWS]]["text"]
    rng = np.random.default_rng([FORMAT, seed])
    table: Iterator[str] = iter(())
    if perturb == "random":
        sampled = np.sort(rng.choice(rows, size=min(len(rows), 100_000), replace=False))
        table = _random_words(*word_table(iter(corpus[sampled]["text"])), rng)
    remaining = size - len(whole)
    while remaining > 0:
        picked = rng.choice(rows, size=min(remaining, ROWS))
        for text in corpus[picked]["text"]:
            words = sub_span(text.split(), rng)
            yield " ".join(perturb_words(words, table, rng) if perturb == "random" else words)
        remaining -= len(picked)


def _heldout_texts(corpus: Dataset, rows: np.ndarray, size: int, part: int) -> Iterator[str]:
    """Each sentence and one sub-span of it, until there are `size`; no seed changes them."""
    rng = np.random.default_rng([FORMAT, part])
    sentences = corpus[rows[: (size + 1) // 2]]["text"]
    yield from sentences
    for text in sentences[: size // 2]:
        yield " ".join(sub_span(text.split(), rng))


def _batches(texts: Iterator[str]) -> Iterator[pa.RecordBatch]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == ROWS:
            yield pa.record_batch([pa.array(batch)], schema=_SCHEMA)
            batch = []
    yield pa.record_batch([pa.array(batch, pa.string())], schema=_SCHEMA)


def build_pools(corpus: Corpus, *, size: int, heldout: int, perturb: str, seed: int, cache: Path) -> Pools:
    """Shape a corpus into the three pools, or open the copies that the cache holds.

    Args:
        size: texts in the transfer pool.
        heldout: texts held out; fewer where the corpus is small.

    Raises:
        InputError: the corpus leaves no held-out document.
    """
    key = hashlib.sha256(repr((FORMAT, corpus.fingerprint, size, heldout, perturb, seed)).encode()).hexdigest()
    folder = cache / "pools" / key[:32]
    paths = {name: folder / f"{name}.arrow" for name in ("transfer", "select", "report")}
    if not all(path.is_file() for path in paths.values()):
        sentences = corpus.sentences
        origins = sentences.data.column("document").to_numpy()
        share = min(HELDOUT_LIMIT, 0.5 * heldout / len(sentences))
        parts = split_documents(origins, share)
        rows = [np.flatnonzero(parts == part) for part in range(3)]
        if any(len(part) == 0 for part in rows):
            names = " ".join(corpus.sources)
            raise InputError(
                f"--corpus {names}: expected text from several passages or documents, to hold some out; found too few"
            )
        for part, name in ((1, "select"), (2, "report")):
            write_arrow(paths[name], _batches(_heldout_texts(sentences, rows[part], heldout // 2, part)), _SCHEMA)
        write_arrow(paths["transfer"], _batches(_transfer_texts(sentences, rows[0], size, perturb, seed)), _SCHEMA)
    pools = {name: open_arrow(path) for name, path in paths.items()}
    digests = "".join(sha256_file(path) for path in paths.values())
    return Pools(fingerprint=hashlib.sha256(digests.encode()).hexdigest(), **pools)
