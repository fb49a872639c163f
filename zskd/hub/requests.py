"""Requests to the Hugging Face Hub: retries, and messages for failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

ATTEMPTS = 4  # of a request that the Hub asks to repeat; its client retries uploads, but not commits
LONGEST_WAIT = 60.0  # seconds

T = TypeVar("T")


def patiently(call: Callable[[], T]) -> T:
    """Send a request that may be repeated, and retry it if the Hub asks for that."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    for attempt in range(ATTEMPTS):
        try:
            return call()
        except (HfHubHTTPError, httpx.TransportError) as error:
            wait = pause(error, attempt)
            if wait is None:
                raise
            time.sleep(wait)
    raise AssertionError("the last attempt waits for nothing")


def pause(error: Exception, attempt: int) -> float | None:
    """Seconds after which a failed request is retried; None if it is not."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    wait = float(2**attempt)
    if isinstance(error, HfHubHTTPError):
        if error.response.status_code not in (429, 500, 502, 503, 504):
            return None
        asked = error.response.headers.get("Retry-After", "")
        wait = float(asked) if asked.isdigit() else wait
    elif isinstance(error, httpx.ConnectError):
        return None  # no network; a retry would not help
    return wait if attempt + 1 < ATTEMPTS and wait <= LONGEST_WAIT else None


def failure(error: BaseException, token: str) -> str:
    """Why an upload failed, in one line without the token."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    if isinstance(error, HfHubHTTPError):
        status, said = error.response.status_code, error.server_message or error.response.reason_phrase
        words = {
            401: "the Hub does not accept the token",
            403: "the token has no right to write there",
            412: "somebody else made a commit meanwhile",
            429: "the Hub asks for a pause (rate limit)",
        }.get(status, "the Hub answered with an error")
        return one_line(f"{words} ({status}: {said})", token)
    if isinstance(error, httpx.TransportError):
        return one_line(f"the connection broke ({type(error).__name__}: {error})", token)
    text = one_line(error, token).rstrip(".")
    return f"{text}: {failure(error.__cause__, token)}" if error.__cause__ is not None else text


def one_line(error: object, token: str) -> str:
    """The message of an error, in one line without the token."""
    return " ".join(str(error).split()).replace(token, "[token]")
