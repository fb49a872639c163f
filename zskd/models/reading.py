"""The one place that turns what the libraries raise, while they read a user's model folder, into wrong input."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zskd.errors import InputError, ZskdError
from zskd.models.quiet import quiet_transformers

LONGEST = 300  # characters of a reason
_NO_DISK = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def reading(
    shown: str, what: str = "the model does not load", reason: Callable[[BaseException], str] | None = None
) -> Iterator[None]:
    """Read files of a user with transformers, peft, tokenizers, safetensors or torch; their log is silent.

    A folder can hold anything, and the libraries raise whatever their code runs into: no list of exceptions is
    complete. So the block holds calls of theirs alone, and every exception in it is the folder's. A mistake in zskd
    itself has its traceback outside of such a block.

    Args:
        shown: flag and folder, and the file where it is known.
        what: what does not work, for the message.
        reason: what a message says of an exception; default: `first_line`.

    Raises:
        InputError: anything was raised but zskd's own errors and a full disk, which is no fault of the folder.
    """
    try:
        with quiet_transformers():
            yield
    except ZskdError:
        raise
    except BaseException as error:
        # The second is what the libraries in Rust raise where they meet a state that they took for impossible.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if isinstance(error, OSError) and error.errno in _NO_DISK:
            raise
        raise InputError(f"{shown}: {what}: {(reason or first_line)(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, and the second if the first announces it, or the error's name; cut."""
    text = str(error).strip()
    if unpickled := re.search(r"WeightsUnpickler error: *(.*)", text):
        # torch explains at length how to let the file run its code.
        return f"a file of weights holds something else, or is damaged ({_cut(unpickled[1], 120)})"
    lines = text.splitlines() or [type(error).__name__]
    line = " ".join(line.strip() for line in lines[: 1 + lines[0].endswith(":")])
    return _cut(f"{type(error).__name__} {line}" if isinstance(error, KeyError) else line, LONGEST)


def _cut(text: str, length: int) -> str:
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= length else text[:length] + " ..."
