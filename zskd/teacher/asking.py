"""Asking a callable teacher: in batches, again where it fails, no text twice, and within a budget if there is one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zskd.errors import InputError, RunError, ZskdError
from zskd.teacher.answers import AnswerStore

logger = logging.getLogger(__name__)

BATCH = 256  # texts per call, unless the callable has an attribute `batch_size`
RETRIES = 3
LONGEST_WAIT = 60.0  # seconds
# They say that the program is wrong, which no second call mends.
_MISTAKES = (
    TypeError, AttributeError, NameError, ImportError, AssertionError, NotImplementedError, ZskdError,
)  # fmt: skip


@dataclass
class Allowance:
    """Texts of a budget that are set aside for nothing else: the transfer set's, and those of calls that failed.

    Attributes:
        left: how many a callable may still be asked for.
        repeated: how many it was asked for in vain, in this call of zskd and in those that it continues.
        note: told of `repeated` whenever that changes. A call counts as failed until its answers are kept, because the
            process may end with it.
    """

    left: int
    repeated: int
    note: Callable[[int], None]

    def begin(self, texts: int) -> None:
        """Note a call that is about to be made."""
        self.note(self.repeated + texts)

    def answered(self) -> None:
        """Take back what `begin` noted."""
        self.note(self.repeated)

    def failed(self, texts: int) -> None:
        """Count the texts of a call that failed."""
        self.left -= texts
        self.repeated += texts
        self.note(self.repeated)


class Asker:
    """Asks a callable, and keeps what it answers.

    Args:
        ask: from texts (or pairs of texts) to logits ``(rows, num_labels)`` float32.
        store: where answers are kept and looked up.
        size: texts per call.
        retries: how often a call that failed is made again, after 1, 2, 4, ... seconds.
        shown: flag and name, for messages.

    Attributes:
        asked: texts of all calls so far, those that failed included.
        allowance: of a run with a budget, else None.
    """

    def __init__(
        self, ask: Callable[[list[Any]], np.ndarray], store: AnswerStore, *, size: int, retries: int, shown: str
    ) -> None:
        self.store, self.size = store, size
        self._ask, self._retries, self._shown = ask, retries, shown
        self._failures = 0
        self.asked = 0
        self.allowance: Allowance | None = None

    def answers(self, texts: Sequence[Any], done: Callable[[int], None] | None = None) -> np.ndarray:
        """Logits ``(rows, num_labels)`` float32 of texts, for which a budget has set queries aside.

        Args:
            done: told of the number of texts of each batch that has its answers.

        Raises:
            RunError: the callable failed more than `retries` times in a row, or the budget is used up. Earlier answers
                are kept.
        """
        found = self.store.find(texts)
        known = {text: row for text, row in zip(texts, found, strict=True) if row is not None}
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        tell = done or (lambda texts: None)
        tell(len(texts) - len(missing))
        while missing:
            batch = missing[: self.size]
            known |= dict(zip(batch, self.renewed(batch), strict=True))
            missing = missing[self.size :]
            tell(len(batch))
        return np.stack([known[text] for text in texts])

    def renewed(self, batch: list[Any]) -> np.ndarray:
        """Ask until there is an answer, ``(rows, num_labels)``, and keep it, whatever was kept before.

        Raises:
            RunError: as for `answers`.
        """
        while (found := self._attempt(batch)) is None:
            if self.allowance is not None and self.allowance.left < 0:
                raise RunError(
                    f"{self._shown}: --query-budget is used up, as {self.allowance.repeated:,} texts were asked for in "
                    "vain; what was answered is kept; raise the budget to go on"
                )
        self._keep(batch, found)
        return found

    def answer_first(self, texts: Sequence[Any], done: Callable[[int], None] | None = None) -> int:
        """Make sure of the answers to as many of the texts, from the first on, as the allowance admits.

        Args:
            texts: different ones.
            done: as for `answers`.

        Returns:
            How many they are. It does not depend on which of them had their answers before.

        Raises:
            RunError: as for `answers`.
        """
        allowance, first = self.allowance, 0
        assert allowance is not None
        while first < len(texts) and allowance.left > 0:
            part = texts[first : first + min(self.size, allowance.left)]
            unknown = [text for text, row in zip(part, self.store.find(part), strict=True) if row is None]
            if unknown:
                if (found := self._attempt(unknown)) is None:
                    continue
                self._keep(unknown, found)
            allowance.left -= len(part)
            first += len(part)
            if done is not None:
                done(len(part))
        return first

    def _attempt(self, batch: list[Any]) -> np.ndarray | None:
        """Ask once; None if the call failed and may be made again."""
        self.asked += len(batch)
        if self.allowance is not None:
            self.allowance.begin(len(batch))
        try:
            found = self._ask(list(batch))
        except Exception as error:
            if self.allowance is not None:
                self.allowance.failed(len(batch))
            if isinstance(error, _MISTAKES):
                raise
            self._failures += 1
            self._wait(error)
            return None
        self._failures = 0
        return found

    def _keep(self, batch: list[Any], found: np.ndarray) -> None:
        self.store.keep(batch, found)
        if self.allowance is not None:
            self.allowance.answered()

    def _wait(self, error: Exception) -> None:
        what, times = f"{type(error).__name__}: {error}", self._failures
        if times > self._retries:
            # `zskd distill` alone has the flag; other verbs name the callable by another.
            hint = (
                " (--teacher-retries sets how often it is asked again)" if self._shown.startswith("--teacher") else ""
            )
            raise RunError(
                f"{self._shown}: failed {times} times in a row, at last with {what}; what it answered before is kept, "
                f"and the same command goes on from there{hint}"
            ) from error
        seconds = min(2.0 ** (times - 1), LONGEST_WAIT)
        logger.warning(
            "%s: failed (%s); asked again in %.0f s (%d of %d)", self._shown, what, seconds, times, self._retries
        )
        time.sleep(seconds)


def call_size(ask: Any, shown: str) -> int:
    """Texts per call of a callable: its attribute `batch_size`, or `BATCH` without one, or where it is None.

    Raises:
        InputError: its attribute `batch_size` is no whole number above 0.
    """
    size = getattr(ask, "batch_size", None)
    if size is None:
        return BATCH
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InputError(f"{shown}: batch_size: expected a whole number above 0, found {size!r}")
    return size
