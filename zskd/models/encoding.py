"""Texts to token ids, always cut to an explicit length."""

from __future__ import annotations

from transformers import BatchEncoding
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.system.plain_text import Repairs

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


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: tuple[list[str], ...], max_length: int) -> BatchEncoding:
    """Token ids of one or two texts per row, as lists without padding, cut to `max_length` tokens.

    If both texts of a pair are too long, the tokenizers library builds all pairs of the windows that it cuts off, which
    takes hundreds of megabytes. Extremely long texts are therefore shortened first, to a length that is still too long.
    What no tokenizer reads is replaced, see `Repairs`.
    """
    repairs = Repairs()
    texts = tuple([repairs.repair(text, f"text {i}") for i, text in enumerate(column)] for column in texts)
    repairs.say()
    if len(texts) == 2:
        pairs = [_shorten_pair(text, other, max_length) for text, other in zip(*texts, strict=True)]
        texts = ([text for text, _ in pairs], [other for _, other in pairs])
    return tokenizer(*texts, truncation=True, max_length=max_length, padding=False)
