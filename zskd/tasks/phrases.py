"""Splitting labelled rows so that no text of one part is a part of a text of the other.

A text is a sequence of words. All suffixes of all texts are sorted (a suffix array, by doubling: Manber and Myers 1990;
only groups that are still equal are sorted again: Larsson and Sadakane 2007). A text that is part of another one then
stands right before it. Time is n log n in the number of words, memory a few integers a word, whatever the texts are.
"""

from __future__ import annotations

import logging
from array import array
from dataclasses import dataclass

import numpy as np

from zskd.system.seeds import Stream, generator
from zskd.tasks.labelled import Labelled

logger = logging.getLogger(__name__)

_PLACE = np.int32  # of a word; 2 billion of them are more than a labelled file has
_END = 0  # of a text, in the sort key: before every word


@dataclass(frozen=True)
class Phrases:
    """Different texts as sequences of words, and all their suffixes in order.

    Attributes:
        words: ``(words,)`` int32 numbers of the words of all texts, one text after the other.
        starts: ``(texts,)`` int64 place of each text's first word; texts without a word have an empty range.
        lengths: ``(texts,)`` int64 number of words of each text.
        left: ``(words,)`` int32 number of words from a place to the end of its text.
        order: ``(words,)`` int32 places at which suffixes begin, in the order of the suffixes.
        ranks: ``(words,)`` int32 index in `order` of the first suffix that equals the one at a place.
    """

    words: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    left: np.ndarray
    order: np.ndarray
    ranks: np.ndarray

    def inside(self, among: np.ndarray) -> np.ndarray:
        """Which texts are part of another text of a set, from its beginning, middle or end.

        Args:
            among: ``(texts,)`` bool, the texts of the set.

        Returns:
            ``(texts,)`` bool; False for a text that is only equal to itself, and for a text without words.
        """
        places = np.flatnonzero(np.repeat(among, self.lengths)[self.order]).astype(_PLACE)
        found = np.zeros(len(self.starts), dtype=bool)
        content, size = self.words.tobytes(), self.words.itemsize
        filled = np.flatnonzero(self.lengths)
        # Suffixes that begin with a text follow each other, the text itself first; its own place does not count.
        first = np.searchsorted(places, self.ranks[self.starts[filled]])
        for text, at in zip(filled.tolist(), first.tolist(), strict=True):
            start, length = int(self.starts[text]), int(self.lengths[text])
            for place in places[at : at + 2].tolist():
                suffix = int(self.order[place])
                if suffix != start:
                    found[text] = length <= self.left[suffix] and (
                        content[size * suffix : size * (suffix + length)]
                        == content[size * start : size * (start + length)]
                    )
                    break
        return found


def sort_phrases(texts: list[str]) -> Phrases:
    """`Phrases` of different texts, whose words are separated by white space."""
    numbers: dict[str, int] = {}
    words, lengths = array("i"), []
    for text in texts:
        ids = [numbers.setdefault(word, len(numbers)) for word in text.split()]
        words.extend(ids)
        lengths.append(len(ids))
    found = np.array(words, dtype=_PLACE)
    count = np.array(lengths, dtype=np.int64)
    ends = np.cumsum(count)
    left = np.repeat(ends.astype(_PLACE), count) - np.arange(len(found), dtype=_PLACE)
    return Phrases(found, ends - count, count, left, *_sort(found, left))


def _sort(words: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(words, kind="stable").astype(_PLACE)
    ranks = np.empty(len(words), dtype=_PLACE)
    at = np.arange(len(words), dtype=_PLACE)  # places of `order` that are not settled
    keys, depth = words[order].astype(np.int64), 1  # suffixes of a group begin with the same `depth` words
    while len(at):
        first = np.ones(len(at), dtype=bool)
        first[1:] = keys[1:] != keys[:-1]
        ranks[order[at]] = np.maximum.accumulate(np.where(first, at, 0))
        alone = first & np.append(first[1:], True)
        # A group whose texts end within `depth` words is equal to the end.
        at = at[~alone & (left[order[at]] >= depth)]
        suffixes = order[at]
        more = left[suffixes] > depth
        keys = ranks[suffixes] * np.int64(len(words) + 1) + _END
        keys[more] += ranks[suffixes[more] + depth] + 1
        sorting = np.argsort(keys, kind="stable").astype(_PLACE)
        order[at], keys = suffixes[sorting], keys[sorting]
        depth *= 2
    return order, ranks


def split_rows(rows: Labelled, selection_rows: int, max_rows: int | None, seed: int) -> tuple[Labelled, Labelled]:
    """Split labelled rows into (training, selection) so that no text of one is part of a text of the other.

    SST-2's training file contains sentences and their phrases. A random split would keep phrases of selection sentences
    in training and favour an over-trained checkpoint. For tasks with one text, selection rows are therefore drawn from
    rows that are not part of another row, and parts of a selection row are dropped from training. Pairs are split at
    random. How many rows are dropped is logged.
    """
    order = generator(Stream.SPLIT, seed).permutation(len(rows.labels)).tolist()
    selection_rows = min(selection_rows, len(order) // 5)
    if len(rows.texts) == 1:
        texts = [" ".join(text.split()) for text in rows.texts[0]]
        number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        phrases = sort_phrases(list(number))
        parts = phrases.inside(np.ones(len(number), dtype=bool))
        held = [i for i in order if not parts[number[texts[i]]]][:selection_rows]
        chosen = np.zeros(len(number), dtype=bool)
        chosen[[number[texts[i]] for i in held]] = True
        seen = chosen | phrases.inside(chosen)
        keep = [i for i in order if not seen[number[texts[i]]]]
    else:
        held, keep = order[:selection_rows], order[selection_rows:]
    dropped = len(order) - len(held) - len(keep)
    if dropped:
        logger.info(
            "rows: %d of %d are equal to one of the %d selection rows or part of one, and are not trained on",
            dropped,
            len(order),
            len(held),
        )

    def pick(indices: list[int]) -> Labelled:
        return Labelled(tuple([text[i] for i in indices] for text in rows.texts), [rows.labels[i] for i in indices])

    return pick(keep[:max_rows]), pick(held)
