"""Texts to token ids, always cut to an explicit length; what is cut is counted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from transformers import BatchEncoding
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.system.plain_text import Repairs

logger = logging.getLogger(__name__)

LETTERS_PER_TOKEN = 64  # no ordinary token is longer
WORDS_PER_TOKEN = 4  # texts are shortened to this many words per allowed token


def _shorten(text: str, limit: int) -> str:
    text = text[: LETTERS_PER_TOKEN * limit]
    words = text.split(maxsplit=limit)
    return text[: len(text) - len(words[-1])] if len(words) > limit else text


def _shorten_pair(text: str, other: str, max_length: int) -> tuple[str, str]:
    limit = WORDS_PER_TOKEN * max_length
    short, short_other = _shorten(text, limit), _shorten(other, limit)
    if len(short) < len(text) and len(short_other) < len(other):
        # The longer text gets the odd token, so it must stay the longer one.
        if len(text) >= len(other):
            short_other = _shorten(other, limit // 2)
        else:
            short = _shorten(text, limit // 2)
    return short, short_other


class Encoded(BatchEncoding):
    """Token ids without padding.

    Attributes:
        cut: number of rows whose text is longer than what was read of it.
    """

    cut: int = 0


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: tuple[list[str], ...], max_length: int) -> Encoded:
    """Token ids of one or two texts per row, as lists without padding, cut to `max_length` tokens.

    If both texts of a pair are too long, the tokenizers library builds all pairs of the windows that it cuts off, which
    takes hundreds of megabytes. Extremely long texts are therefore shortened first, to a length that is still too long.
    What no tokenizer reads is replaced, see `Repairs`.

    Raises:
        InputError: `max_length` leaves no room for text beside the special tokens.
    """
    least = tokenizer.num_special_tokens_to_add(pair=len(texts) == 2) + len(texts)
    if max_length < least:
        raise InputError(
            f"--max-length {max_length}: expected at least {least}, the special tokens of "
            f"{'two texts' if len(texts) == 2 else 'a text'} and one token of each"
        )
    shortened: set[int] = set()
    repairs = Repairs()
    texts = tuple([repairs.repair(text, f"text {i}") for i, text in enumerate(column)] for column in texts)
    repairs.say()
    if len(texts) == 2:
        pairs = [_shorten_pair(text, other, max_length) for text, other in zip(*texts, strict=True)]
        short = ([text for text, _ in pairs], [other for _, other in pairs])
        for before, after in zip(texts, short, strict=True):
            shortened |= {i for i, text in enumerate(before) if len(after[i]) < len(text)}
        texts = short
    found = tokenizer(*texts, truncation=True, max_length=max_length, padding=False)
    encoded = Encoded(found.data, found.encodings)
    # Only rows that fill the length can have been cut, so that a text that fits costs nothing more.
    full = {i for i, ids in enumerate(encoded["input_ids"]) if len(ids) >= max_length} - shortened
    encoded.cut = len(shortened) + sum(_is_cut(tokenizer, encoded, texts, i, max_length) for i in full)
    return encoded


def _is_cut(
    tokenizer: PreTrainedTokenizerBase, encoded: Encoded, texts: tuple[list[str], ...], row: int, max_length: int
) -> bool:
    """Whether something of a row that fills the length was cut off."""
    if encoded.encodings is None:  # tokenizers in Python do not keep what they cut off
        return len(tokenizer(*(column[row] for column in texts), verbose=False)["input_ids"]) > max_length
    found = encoded.encodings[row]
    # The library copies everything that it cut off when it is asked for it, which for two long texts takes as long as
    # reading them. A letter or digit after the last token is proof enough.
    if tokenizer.truncation_side == "right" and _has_rest(found, texts, row):
        return True
    return bool(found.overflowing)


def _has_rest(found: Any, texts: tuple[list[str], ...], row: int) -> bool:
    """Whether a letter or digit stands after the last token that was read of the last text."""
    for place in range(len(found) - 1, -1, -1):
        if (sequence := found.token_to_sequence(place)) is not None:
            _, end = found.token_to_chars(place)
            return any(character.isalnum() for character in texts[sequence][row][end:])
    return False


@dataclass
class Cuts:
    """Counts the rows of a stage, and those of which a part was not read.

    Attributes:
        max_length: tokens to which inputs are cut.
        trained: length that the model was trained on, None if it is not known.
        rows: inputs that were counted.
        cut: how many were longer than `max_length`; None if a callable read them, which cuts as it likes.
        beyond: how many were read to a greater length than `trained`.
    """

    max_length: int
    trained: int | None = None
    rows: int = 0
    cut: int | None = 0
    beyond: int = 0
    _told: bool = False

    def add(self, prepared: Any, rows: int) -> None:
        """Count a batch of `rows` inputs, `prepared` by `zskd.teacher.base.Teacher.prepare`."""
        self.rows += rows
        if not isinstance(prepared, Encoded):
            self.cut = None
            return
        if self.cut is not None:
            self.cut += prepared.cut
        if self.trained is not None:
            self.beyond += sum(len(ids) > self.trained for ids in prepared["input_ids"])

    def tell_beyond(self, shown: str) -> None:
        """Say once that the model reads more than it was trained on.

        Args:
            shown: the model, as messages name it.
        """
        if self.beyond and not self._told:
            self._told = True
            logger.warning(
                "%s was trained on inputs of up to %s tokens and reads longer ones, up to %d, without having learned "
                "from any", shown, self.trained, self.max_length,
            )  # fmt: skip

    def tell(self, stage: str, inputs: str = "inputs") -> None:
        """Say how many inputs were cut, if any were.

        Args:
            stage: what was done with the inputs.
            inputs: what they are called.
        """
        tell_cut(stage, self.cut, self.rows, self.max_length, inputs)


def tell_cut(stage: str, cut: int | None, rows: int, max_length: int, inputs: str = "inputs") -> None:
    """Say that `cut` of `rows` inputs were cut to `max_length` tokens; nothing where none was, or nobody knows."""
    if cut:
        logger.warning(
            "%s: %s of %s %s were longer than %d tokens and were cut (--max-length)",
            stage, f"{cut:,}", f"{rows:,}", inputs, max_length,
        )  # fmt: skip
