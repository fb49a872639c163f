"""A callable that fails is asked again, no text is asked for twice, and an allowance holds to the text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import prose

from zskd.errors import InputError, RunError
from zskd.teacher import asking
from zskd.teacher.answers import AnswerStore
from zskd.teacher.asking import Allowance, Asker, call_size

TEXTS = prose(60)


class Service:
    """Answers with lengths; every call is charged for, and those whose numbers are in `failing` fail."""

    def __init__(self, failing: set[int] = frozenset(), error: Callable[[], Exception] = TimeoutError) -> None:  # type: ignore[assignment]
        self.failing, self.error = failing, error
        self.calls: list[list[Any]] = []
        self.charged = 0

    def __call__(self, texts: list[Any]) -> np.ndarray:
        self.calls.append(texts)
        self.charged += len(texts)
        if len(self.calls) - 1 in self.failing:
            raise self.error()
        return expected(texts)


def expected(texts: list[Any]) -> np.ndarray:
    return np.array([[len(text), 0.0] for text in texts], dtype=np.float32)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(asking.time, "sleep", found.append)
    return found


def asker(service: Service, folder: Path, *, retries: int = 3, size: int = 10) -> Asker:
    return Asker(service, AnswerStore(folder / "answers.sqlite"), size=size, retries=retries, shown="--teacher own:ask")


def allow(found: Asker, left: int, repeated: int = 0) -> list[int]:
    """Give an allowance as a run does; returned is what it is told of, as it grows."""
    noted = [repeated]
    found.allowance = Allowance(left - repeated, repeated, noted.append)
    return noted


def test_answers_come_in_the_order_of_the_texts_and_each_is_asked_for_once(tmp_path: Path) -> None:
    service = Service()
    found, told = asker(service, tmp_path), []  # type: ignore[var-annotated]
    rows = [*TEXTS, *TEXTS[::-1]]
    np.testing.assert_array_equal(found.answers(rows, told.append), expected(rows))
    assert service.charged == found.asked == len(set(TEXTS)) and max(map(len, service.calls)) == 10
    assert sum(told) == len(rows)
    np.testing.assert_array_equal(asker(service, tmp_path).answers(rows), expected(rows))
    assert service.charged == len(set(TEXTS))


def test_a_call_that_fails_is_made_again_after_longer_and_longer_waits(tmp_path: Path, waits: list[float]) -> None:
    service = Service({0, 1, 2, 4})
    found = asker(service, tmp_path)
    np.testing.assert_array_equal(found.answers(TEXTS), expected(TEXTS))
    assert waits == [1.0, 2.0, 4.0, 1.0] and found.asked == service.charged == len(set(TEXTS)) + 40


def test_what_was_answered_before_a_failure_is_not_asked_for_again(tmp_path: Path, waits: list[float]) -> None:
    service = Service({2, 3}, lambda: ConnectionError("reset by peer"))
    with pytest.raises(RunError, match=r"--teacher own:ask: failed 2 times.*ConnectionError: reset.*--teacher-retries"):
        asker(service, tmp_path, retries=1).answers(TEXTS)
    service.failing, before = set(), len(service.calls)
    np.testing.assert_array_equal(asker(service, tmp_path).answers(TEXTS), expected(TEXTS))
    again = [text for call in service.calls[before:] for text in call]
    assert again == list(dict.fromkeys(TEXTS))[20:]


def test_a_verb_without_the_flag_does_not_name_it(tmp_path: Path, waits: list[float]) -> None:
    service, store = Service({0}), AnswerStore(tmp_path / "answers.sqlite")
    with pytest.raises(RunError, match="--model own:ask: failed 1 times") as raised:
        Asker(service, store, size=10, retries=0, shown="--model own:ask").answers(TEXTS)
    assert "--teacher-retries" not in str(raised.value)


@pytest.mark.parametrize("error", [TypeError, lambda: InputError("its answer has another shape")])
def test_a_mistake_of_the_program_is_not_made_again(error: Any, tmp_path: Path, waits: list[float]) -> None:
    service = Service({0}, error)
    with pytest.raises((TypeError, InputError)):
        asker(service, tmp_path).answers(TEXTS)
    assert len(service.calls) == 1 and not waits


def test_texts_of_a_call_that_is_not_made_again_count_as_asked_for_in_vain(tmp_path: Path) -> None:
    """A service whose answer has another shape was paid for it."""
    found = asker(Service({1}, lambda: InputError("its answer has another shape")), tmp_path)
    noted = allow(found, 100)
    with pytest.raises(InputError):
        found.answer_first(list(dict.fromkeys(TEXTS)))
    assert noted[-1] == 10 and found.allowance is not None and found.allowance.left == 80


@pytest.mark.parametrize("known", [(), (3, 17, 18, 40), tuple(range(60))])
@pytest.mark.parametrize("left", [1, 9, 10, 37, 60, 1_000])
def test_the_first_texts_within_an_allowance_are_answered(left: int, known: tuple[int, ...], tmp_path: Path) -> None:
    """Whatever had its answer before, which a killed run leaves, they are the same."""
    texts, service = list(dict.fromkeys(TEXTS)), Service()
    if have := [texts[i] for i in known if i < len(texts)]:
        asker(service, tmp_path).answers(have)
    found = asker(service, tmp_path)
    allow(found, left)
    assert found.answer_first(texts) == min(left, len(texts))
    assert service.charged == len({*have, *texts[:left]})


def kill_before(found: Asker, service: Service, calls: int) -> None:
    """End the process before so many calls have been followed by another."""
    assert found.allowance is not None
    begin = found.allowance.begin

    def killed(texts: int) -> None:
        if len(service.calls) == calls:
            raise KeyboardInterrupt
        begin(texts)

    found.allowance.begin = killed  # type: ignore[method-assign]


def test_texts_of_a_call_that_ends_with_the_process_count_as_asked_for(tmp_path: Path) -> None:
    """Nobody knows whether they were paid for."""
    texts, service = list(dict.fromkeys(TEXTS)), Service({2}, KeyboardInterrupt)  # type: ignore[arg-type]
    found = asker(service, tmp_path)
    noted = allow(found, 45)
    with pytest.raises(KeyboardInterrupt):
        found.answer_first(texts)
    assert noted[-1] == 10 and service.charged == 30
    again = asker(service, tmp_path)
    allow(again, 45, noted[-1])
    assert again.answer_first(texts) == 35 and service.charged == 45


@pytest.mark.parametrize("failing", [{0}, {5}, {2, 3}, {0, 2, 4}])
@pytest.mark.parametrize("left", [25, 45, 1_000])
def test_calls_that_failed_take_from_the_allowance_in_one_go_or_in_two(
    failing: set[int], left: int, tmp_path: Path, waits: list[float]
) -> None:
    """A run that was killed after any call, and goes on, has the texts of an undisturbed one and pays no more."""
    texts = list(dict.fromkeys(TEXTS))
    service = Service(failing)
    found = asker(service, tmp_path / "whole")
    noted = allow(found, left)
    first = found.answer_first(texts)
    assert service.charged <= left and first == min(len(texts), left - noted[-1])
    for calls in range(1, len(service.calls)):
        other, folder = Service(failing), tmp_path / str(calls)

        begun = asker(other, folder)
        before = allow(begun, left)
        kill_before(begun, other, calls)
        with pytest.raises(KeyboardInterrupt):
            begun.answer_first(texts)
        again = asker(other, folder)
        allow(again, left, before[-1])
        assert again.answer_first(texts) == first and other.charged == service.charged


def test_texts_that_were_set_aside_may_be_repeated_within_the_allowance_only(
    tmp_path: Path, waits: list[float]
) -> None:
    texts = list(dict.fromkeys(TEXTS))
    for left, failing, fits in ((20, {0, 3}, True), (19, {0, 3}, False), (0, set(), True)):
        service = Service(failing)
        found = asker(service, tmp_path / f"{left}")
        allow(found, left)
        if fits:
            np.testing.assert_array_equal(found.answers(texts), expected(texts))
        else:
            with pytest.raises(RunError, match="--query-budget is used up, as 20 texts were asked for in vain"):
                found.answers(texts)
        assert service.charged <= len(texts) + left


def test_a_callable_says_how_many_texts_it_takes_at_a_time() -> None:
    def ask(texts: list[str]) -> None: ...

    assert call_size(ask, "--teacher own:ask") == asking.BATCH
    ask.batch_size = None  # type: ignore[attr-defined]
    assert call_size(ask, "--teacher own:ask") == asking.BATCH
    ask.batch_size = 12  # type: ignore[attr-defined]
    assert call_size(ask, "--teacher own:ask") == 12
    for wrong in (0, -1, 2.5, True, "7"):
        ask.batch_size = wrong  # type: ignore[attr-defined]
        with pytest.raises(InputError, match="--teacher own:ask: batch_size: expected a whole number above 0"):
            call_size(ask, "--teacher own:ask")
