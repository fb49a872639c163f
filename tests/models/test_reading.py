"""What a library raises while it reads a folder is wrong input, but for zskd's own errors, a full disk and Ctrl-C."""

from __future__ import annotations

import errno
import json
import pickle
from pathlib import Path

import pytest
import torch

from zskd.errors import InputError, RunError
from zskd.models.reading import LONGEST, first_line, reading


class PanicException(BaseException):
    """As pyo3 raises it for Rust's panics; it cannot be imported."""


class Strange(Exception):
    """Of a kind that no list has."""


@pytest.mark.parametrize(
    "error",
    [Strange("odd"), KeyError("odd"), RecursionError("odd"), MemoryError("odd"), PanicException("odd"), OSError("odd"),
     json.JSONDecodeError("odd", "x", 0), ValueError("odd\nmore"), AssertionError("odd:\nthe rest")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_is_raised_names_folder_and_reason(error: BaseException) -> None:
    with (
        pytest.raises(InputError, match=r"^--model x: it does not work: .*odd") as caught,
        reading("--model x", "it does not work"),
    ):
        raise error
    assert "\n" not in str(caught.value) and caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [InputError("mine"), RunError("mine"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), SystemExit(3)]
)
def test_what_is_no_fault_of_the_folder_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, reading("--model x"):
        raise error
    assert caught.value is error


def test_a_reason_is_one_short_line() -> None:
    assert first_line(ValueError("one:\n two\nthree")) == "one: two" and first_line(Strange()) == "Strange"
    assert first_line(KeyError("metadata")) == "KeyError 'metadata'"
    assert first_line(ValueError("a\x1b[31mb\x00c")) == "a [31mb c"
    assert len(first_line(ValueError("x" * 10**6))) < LONGEST + 10


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)


def test_what_torch_says_of_a_pickle_is_put_in_short(tmp_path: Path) -> None:
    """Its message explains how to let the file run its code."""
    (tmp_path / "x.bin").write_bytes(pickle.dumps(Evil(), protocol=2))
    with (
        pytest.raises(InputError, match="a file of weights holds something else, or is damaged") as caught,
        reading("x"),
    ):
        torch.load(tmp_path / "x.bin", weights_only=True)
    assert "weights_only" not in str(caught.value) and "eval" in str(caught.value)
