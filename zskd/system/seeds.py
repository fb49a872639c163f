"""Every random stream of zskd has a name here, so that no two modules draw the same numbers by accident.

A stream's generator is made of the stream's number and of words that say whose numbers they are: the run's seed, an
optimizer step, a row's place in the whole batch. So what is random is a function of these alone, whatever was drawn
before and however a batch is split.
"""

from __future__ import annotations

import zlib
from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """First word of a generator's seed."""

    SHAPING = 1  # spans, perturbed words and pairs
    WRITER = 4  # which places a generator rewrites, and its noise
    REPLAY = 5  # which written row is shown again
    SOURCES = 6  # which row is rewritten
    TURNS = 6  # the order in which rows are rewritten for a Trainer that knows nothing of it
    METHOD = 7  # what a method draws for a row of a batch
    MODULES = 8  # the weights that a method's own modules start from


def generator(stream: Stream, *words: int) -> np.random.Generator:
    """The generator of a stream.

    Args:
        words: whose numbers they are, for example the run's seed, the optimizer step and a row's place.

    Example:
        >>> from zskd.system.seeds import Stream, generator
        >>> generator(Stream.REPLAY, 0, 12, 3).integers(100) == generator(Stream.REPLAY, 0, 12, 3).integers(100)
        True
    """
    return np.random.default_rng([int(stream), *words])


def row_order(seed: int, epoch: int) -> np.random.Generator:
    """The generator of the order of rows in an epoch; it is older than the streams and has no number."""
    return np.random.default_rng([seed, epoch])


def repetition(seed: int) -> np.random.Generator:
    """The generator of which inputs of a rare class are repeated; it has no number either."""
    return np.random.default_rng(seed)


def word(text: str) -> int:
    """A text as a word of a seed, the same on every machine."""
    return zlib.crc32(text.encode())
