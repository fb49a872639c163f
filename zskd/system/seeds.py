"""The names of all random streams, so that no two modules draw the same numbers by accident.

A generator is seeded with the number of its stream and with words such as the run's seed, an optimizer step and a row's
place in the whole batch. Random numbers depend on these only, not on what was drawn before or how a batch is split.
"""

from __future__ import annotations

import zlib
from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The number of a stream, which is the first word of a generator's seed."""

    SHAPING = 1  # spans, perturbed words and pairs
    WRITER = 4  # which places a generator rewrites, and its noise
    REPLAY = 5  # which written row is shown again
    SOURCES = 6  # which row is rewritten
    TURNS = 6  # the order in which `AdversarialBatches` rewrites rows
    METHOD = 7  # what a method draws for a row of a batch
    MODULES = 8  # the weights that a method's own modules start from


def generator(stream: Stream, *words: int) -> np.random.Generator:
    """The generator of a stream.

    Args:
        words: further words of the seed, for example the run's seed, the optimizer step and a row's place.

    Example:
        >>> from zskd.system.seeds import Stream, generator
        >>> generator(Stream.REPLAY, 0, 12, 3).integers(100) == generator(Stream.REPLAY, 0, 12, 3).integers(100)
        True
    """
    return np.random.default_rng([int(stream), *words])


def row_order(seed: int, epoch: int) -> np.random.Generator:
    """The generator for the order of rows in an epoch. It is older than the streams and has no stream number."""
    return np.random.default_rng([seed, epoch])


def repetition(seed: int) -> np.random.Generator:
    """The generator that chooses which inputs of rare classes are repeated. It has no stream number either."""
    return np.random.default_rng(seed)


def word(text: str) -> int:
    """Turn a text into a word of a seed, the same on every machine."""
    return zlib.crc32(text.encode())
