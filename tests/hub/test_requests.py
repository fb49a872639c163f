"""Requests to the Hub: which are sent again and after how long, and how a failure reads without the token."""

from __future__ import annotations

import time

import pytest
from conftest import CANARY
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx

from zskd.hub.requests import ATTEMPTS, LONGEST_WAIT, failure, one_line, patiently, pause


def answered(status: int, **headers: str) -> HfHubHTTPError:
    request = httpx.Request("POST", "https://hub/api")
    return HfHubHTTPError("no", response=httpx.Response(status, request=request, headers=headers))


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_the_hub_asks_to_repeat_is_repeated_with_longer_waits(status: int, waited: list[float]) -> None:
    left = [answered(status), answered(status)]

    def call() -> str:
        if left:
            raise left.pop()
        return "done"

    assert patiently(call) == "done" and waited == [1.0, 2.0]


def test_it_ends_after_so_many_attempts(waited: list[float]) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise answered(503)

    with pytest.raises(HfHubHTTPError):
        patiently(call)
    assert len(calls) == ATTEMPTS and len(waited) == ATTEMPTS - 1


@pytest.mark.parametrize(
    "error",
    [answered(401), answered(404), httpx.ConnectError("no network"), answered(429, **{"Retry-After": "3600"})],
    ids=["refused", "absent", "no network", "too long a wait"],
)
def test_what_repeating_does_not_mend_is_raised_at_once(error: Exception, waited: list[float]) -> None:
    def call() -> None:
        raise error

    with pytest.raises(type(error)):
        patiently(call)
    assert waited == []


def test_the_hub_says_how_long() -> None:
    assert pause(answered(429, **{"Retry-After": "7"}), 0) == 7.0
    assert pause(answered(429, **{"Retry-After": "soon"}), 1) == 2.0
    assert pause(httpx.ReadTimeout("slow"), 2) == 4.0 <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (answered(403), "no right to write there (403"),
        (answered(418), "answered with an error (418"),
        (httpx.ReadError(f"broke\nwith {CANARY}"), "the connection broke (ReadError: broke with [token])"),
        (ValueError(f"sent {CANARY}\n  twice."), "sent [token] twice"),
    ],
)
def test_a_failure_is_one_line_without_the_token(error: Exception, says: str) -> None:
    text = failure(error, CANARY)
    assert says in text and CANARY not in text and "\n" not in text


def test_a_failure_names_its_cause() -> None:
    error = RuntimeError("upload failed.")
    error.__cause__ = answered(412)
    assert failure(error, CANARY).startswith("upload failed: somebody else made a commit")
    assert one_line(" a\n b ", CANARY) == "a b"
