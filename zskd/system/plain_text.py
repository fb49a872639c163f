"""Text as it comes: characters that no text can have, and bytes that are no UTF-8 text."""

from __future__ import annotations

import codecs
import logging
import re
from dataclasses import dataclass

logger = logging.getLogger(__name__)

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# Line breaks, other control characters and lone surrogates, which a message or a label of one line cannot hold.
NOT_IN_A_LINE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_UTF16 = "UTF-16 text; convert it, for example with `iconv -f UTF-16 -t UTF-8`"
_UTF32 = "UTF-32 text; convert it, for example with `iconv -f UTF-32 -t UTF-8`"
# First bytes of a file, and what it is; UTF-32's mark begins with UTF-16's.
_BEGINNINGS = (
    (codecs.BOM_UTF32_LE, _UTF32),
    (codecs.BOM_UTF32_BE, _UTF32),
    (codecs.BOM_UTF16_LE, _UTF16),
    (codecs.BOM_UTF16_BE, _UTF16),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PAR1", "a parquet file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
)
_ENOUGH = 8  # bytes to tell UTF-16 without a mark from other data
_ZERO_SHARE = 0.3  # of the bytes at every second place that are zero where a text is UTF-16 without a mark


def one_line(error: BaseException) -> str:
    """The message of an error without its line breaks, or the error's name."""
    return " ".join(str(error).split()) or type(error).__name__


def found_instead(beginning: bytes) -> str:
    """What the beginning of a file or line is that is no UTF-8 text, for a message; with advice where there is one."""
    for mark, name in _BEGINNINGS:
        if beginning.startswith(mark):
            return name
    if b"\0" not in beginning:
        return "other bytes"
    if len(beginning) < _ENOUGH:
        return "binary data"
    even, odd = ((half.count(0) / max(1, len(half))) for half in (beginning[::2], beginning[1::2]))
    return _UTF16 if max(even, odd) >= _ZERO_SHARE > 10 * min(even, odd) else "binary data"


@dataclass
class Repairs:
    """Texts in which lone surrogates or NUL were replaced by U+FFFD.

    JSON escapes such as ``"\\ud83d"``, file names and damaged strings of Python bring them. No file can hold the
    first, no tokenizer reads either.

    Attributes:
        texts: number of texts that were changed.
        characters: number of characters that were replaced.
        first: where the first of them was.
    """

    texts: int = 0
    characters: int = 0
    first: str = ""

    def repair(self, text: str, where: str) -> str:
        """The text with every such character replaced, which is counted."""
        if not _NO_TEXT.search(text):
            return text
        text, count = _NO_TEXT.subn(REPLACEMENT, text)
        self.first = self.first or where
        self.texts += 1
        self.characters += count
        return text

    def say(self) -> None:
        """Log the counts, if anything was replaced."""
        if self.texts:
            logger.warning(
                "%s: lone surrogates or NUL, which no text can have; %d such character(s) in %d text(s) were replaced "
                "by U+FFFD, this is the first",
                self.first,
                self.characters,
                self.texts,
            )
