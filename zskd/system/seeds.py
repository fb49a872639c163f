"""The names of all random streams, so that no two draw the same numbers by accident.

Every seed is a hash of the stream's name and of words such as the run's seed, an optimizer step and a row's place in
the whole batch. Random numbers depend on these only, not on what was drawn before or how a batch is split. Without the
hash, two uses that take the same small number would draw alike, and so would [4, 1] and [4, 1, 0], as NumPy fills lists
up with zeros.
"""

from __future__ import annotations

import hashlib
import json
import operator
from enum import Enum, unique

import numpy as np

_SMALL = 4  # bytes of the seeds that `torch.manual_seed` and `transformers.set_seed` take alike


@unique
class Stream(Enum):
    """What random numbers are for; the value is part of every seed, and another value means other numbers."""

    TRANSFER = "transfer"  # spans, perturbed words and pairs of the transfer pool
    HELDOUT = "heldout"  # the same of a held-out pool
    ASKED = "asked"  # the order in which a callable teacher is asked for the transfer set
    REPETITION = "repetition"  # which inputs of rare classes are repeated
    ROWS = "rows"  # the order of rows in an epoch
    SPLIT = "split"  # which labelled rows are kept aside in `zskd finetune`
    START = "start"  # weights that a student or a fine-tuned teacher starts from
    PRETRAINING = "pretraining"  # the inputs that a start reads
    NEIGHBOURS = "neighbours"  # which sentence of a band of similarity is paired with another
    MODULES = "modules"  # weights that a method's own modules start from
    METHOD = "method"  # what a method draws for a row of a batch
    CHANGED = "changed"  # which rows of a batch a method changes
    GENERATOR = "generator"  # the head of a generator that is built from the teacher
    WARM_UP = "warm-up"  # rows and masks of a generator's warm-up
    WRITER = "writer"  # which places a generator rewrites, and its noise
    REPLAY = "replay"  # which written row is shown again
    SOURCES = "sources"  # which row is rewritten
    TURNS = "turns"  # the order in which `AdversarialBatches` rewrites rows
    RECIPES = "recipes"  # what a program in `recipes/` draws beside a run


def _digest(stream: Stream, words: tuple[int | str, ...]) -> bytes:
    plain = [word if isinstance(word, str) else operator.index(word) for word in words]
    return hashlib.sha256(json.dumps([stream.value, *plain]).encode()).digest()


def generator(stream: Stream, *words: int | str) -> np.random.Generator:
    """The NumPy generator of a stream, from its beginning.

    Args:
        words: further words of the seed, for example the run's seed, the optimizer step and a row's place; 1 and "1"
            are two words.

    Raises:
        TypeError: a word is neither a whole number nor a text.

    Example:
        >>> from zskd.system.seeds import Stream, generator
        >>> first, again, other = (generator(Stream.REPLAY, 0, 12, place).random() for place in (3, 3, 4))
        >>> first == again, first == other
        (True, False)
    """
    return np.random.default_rng(int.from_bytes(_digest(stream, words), "little"))


def seed_of(stream: Stream, *words: int | str) -> int:
    """The seed of a stream, below 2^32, for the global generators of libraries; words as in `generator`."""
    return int.from_bytes(_digest(stream, words)[:_SMALL], "little")
