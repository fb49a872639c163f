"""Hashes of sentences: they tell which texts of an evaluation file a start has read, and contain none of its text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from zskd.text.sentences import split_sentences

HASH = np.dtype("<u4")


def sentence_hashes(sentences: Iterable[str]) -> np.ndarray:
    """Sorted distinct 32-bit hashes ``(hashes,)`` of sentences; case and white space do not count.

    A sentence that is not among n others is taken for one of them with a probability of n / 2**32: 0.0007 % for 30,000.

    Example:
        >>> len(sentence_hashes(["A film.", "a  film.", "A play."]))
        2
    """
    return np.unique(np.fromiter(map(_hash, sentences), HASH))


def rows_seen(texts: Sequence[Sequence[str]], hashes: np.ndarray) -> int:
    """Number of rows of which a text, or a sentence of one, is among hashed sentences.

    Args:
        texts: columns of the rows.
        hashes: result of `sentence_hashes`.

    Example:
        >>> rows_seen((["A play. It was long.", "a short film"],), sentence_hashes(["a play."]))
        1
    """
    known = set(hashes.tolist())
    return sum(any(_is_seen(text, known) for text in row) for row in zip(*texts, strict=True))


def _is_seen(text: str, known: set[int]) -> bool:
    return _hash(text) in known or any(_hash(sentence) in known for sentence in split_sentences(text))


def plain(text: str) -> str:
    """A text as it is compared: without case, and with single spaces.

    Example:
        >>> plain(" A  film.")
        'a film.'
    """
    return " ".join(text.lower().split())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(plain(text).encode(errors="surrogatepass"), digest_size=4).digest(), "little")
