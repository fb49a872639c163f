"""Progress bars: on a terminal or in a notebook, and not where only warnings are asked for."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from zskd.system.progress import LogHandler, bar, hidden, reading


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


def test_a_bar_in_a_notebook_is_a_line_that_is_seldom_written(
    level: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stderr", cell)
    level.setLevel(logging.INFO)
    with bar("labels", 5_000, "row") as found:
        for _ in range(5_000):
            found.update()
    written = cell.getvalue().split("\r")
    assert len(written) < 10 and max(map(len, written)) == 100 and written[-2].strip() == "" and "\n" not in written[1]
    level.setLevel(logging.WARNING)
    assert hidden()


def test_a_reading_bar_learns_its_total_from_what_is_read(
    level: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    level.setLevel(logging.INFO)
    with reading("reading text") as at:
        for done in (0, 1_000_000, 4_000_000):
            at(done, 4_000_000, "B")
    shown = capsys.readouterr().err
    assert "reading text:   0%" in shown and "/4.00M" in shown
    with reading("nothing"):
        pass
    assert "nothing" not in capsys.readouterr().err


def test_a_log_line_stands_above_a_bar(
    level: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    level.setLevel(logging.INFO)
    handler = LogHandler()
    with bar("labels", 7, "row") as found:
        found.update(3)
        handler.emit(logging.LogRecord("zskd", logging.INFO, "", 0, "half of it", None, None))
    # The bar is wiped, the line written in its place, and the bar drawn anew below.
    assert re.search(r"\rlabels: .*\r +\rhalf of it\n\r?labels: .*3/7", capsys.readouterr().err, re.DOTALL)
