"""Progress bars: on a terminal alone, and not where only warnings are asked for."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest

from zskd.system.progress import bar, hidden


@pytest.fixture
def level() -> Iterator[logging.Logger]:
    logger = logging.getLogger("zskd")
    before = logger.level
    yield logger
    logger.setLevel(before)


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("said", [logging.NOTSET, logging.INFO, logging.WARNING])
def test_a_bar_needs_a_terminal_and_no_quiet(
    terminal: bool, said: int, level: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    level.setLevel(said)
    shown = terminal and said <= logging.INFO
    assert hidden() is not shown
    with bar("teacher labels", 7, "row") as found:
        assert found.disable is not shown
        assert not shown or (found.total == 7 and found.leave is False)
