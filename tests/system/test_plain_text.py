"""Characters that no text can have are replaced and counted; bytes that are no UTF-8 text are named."""

from __future__ import annotations

import gzip
import logging

import pytest

from zskd.system.plain_text import Repairs, found_instead, one_line


def test_lone_surrogates_and_nul_are_replaced_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    repairs = Repairs()
    pair = "\N{GRINNING FACE}"
    assert repairs.repair(f"plain {pair} \x01\ufffe", "row 0") == f"plain {pair} \x01\ufffe"
    assert repairs.repair("a\ud83db\udc00", "row 1") == "a\ufffdb\ufffd"
    assert repairs.repair("a\0b", "row 2") == "a\ufffdb"
    assert repairs == Repairs(texts=2, characters=3, first="row 1")
    with caplog.at_level(logging.WARNING, "zskd"):
        repairs.say()
        Repairs().say()
    (message,) = caplog.messages
    assert message.startswith("row 1:") and "3 such character(s) in 2 text(s)" in message and "U+FFFD" in message


BEGINNINGS = {
    "UTF-16 with a mark": ("A fine film.\n".encode("utf-16"), "UTF-16 text"),
    "UTF-16 without a mark": ("A fine film.\n".encode("utf-16-le"), "UTF-16 text"),
    "UTF-16, big end first": ("A fine film.\n".encode("utf-16-be"), "UTF-16 text"),
    "UTF-32": ("A fine film.\n".encode("utf-32"), "UTF-32 text"),
    "Latin-1": ("A fine caf\xe9.\n".encode("latin-1"), "other bytes"),
    "gzip": (gzip.compress(b"A fine film."), "a gzip file"),
    "zip": (b"PK\x03\x04\x14\0\0\0", "a zip archive"),
    "a program": (b"\x7fELF\x02\x01\x01\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0\xff\xfe", "binary data"),
    "one zero": (b"A fine film.\0", "binary data"),
}


@pytest.mark.parametrize("content, expected", BEGINNINGS.values(), ids=BEGINNINGS)
def test_what_is_no_utf8_text_is_named(content: bytes, expected: str) -> None:
    assert found_instead(content).startswith(expected)
    assert ("iconv" in found_instead(content)) == expected.startswith("UTF")


def test_an_error_is_one_line() -> None:
    assert one_line(ValueError("one\n  two\tthree")) == "one two three"
    assert one_line(EOFError()) == "EOFError"
