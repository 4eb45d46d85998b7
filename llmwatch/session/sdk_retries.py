"""Answers a library's own retry of a request that has just failed for good, without sending it.

``x-should-retry`` tells the SDKs with a status that a retry is pointless. No exception can tell that to a library. But
libraries retry in the thread that failed, with the same method, URL and body. They count their retries in a header
(openai, anthropic, groq and similar SDKs), or the stack shows the retry (:mod:`llmwatch.session.retry_loops`). A
request with one of these signs that equals the last failure of its thread gets the same result, and is not sent.

A new call of the user counts from 0 and is inside no library's retry, so it is sent, as is any request without a sign.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import requests

from llmwatch.engine.combined_errors import copy_of
from llmwatch.errors import LLMWatchError
from llmwatch.session.retry_loops import is_retry

__all__ = ["Outcome", "Repeats", "Sending"]

_COUNT = "x-stainless-retry-count"

Outcome = LLMWatchError | Callable[[], Any]
"""How a request ended: the error, or a function that makes its response again."""


class Sending:
    """A request's identity ``what``, and ``count``, how often its SDK has resent it."""

    __slots__ = ("_prepared", "count")

    def __init__(self, prepared: requests.PreparedRequest) -> None:
        self._prepared = prepared
        self.count = _count_in(prepared.headers)

    @property
    def what(self) -> bytes:
        """A digest that is the same for the same request, computed only when needed.
        The body itself would stay in memory until the thread's next call.
        """
        seed = f"{self._prepared.method} {self._prepared.url}\n".encode()
        return sha256(seed + _body_of(self._prepared)).digest()


def _body_of(prepared: requests.PreparedRequest) -> bytes:
    """The body without the boundary between the parts of a form, which is random in each request."""
    body = prepared.body
    if not isinstance(body, bytes):
        return b""
    _, _, boundary = prepared.headers.get("content-type", "").partition("boundary=")
    return body.replace(boundary.encode("latin-1"), b"") if boundary else body


def _count_in(headers: Mapping[str, str]) -> int:
    text = headers.get(_COUNT, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


class Repeats(threading.local):
    """The last failure of each thread."""

    def __init__(self) -> None:
        self._what = b""
        self._count = 0
        self._outcome: Outcome | None = None

    def failed(self, sending: Sending, error: LLMWatchError) -> None:
        """``sending`` ended for good with ``error``."""
        self._what, self._count, self._outcome = sending.what, sending.count, copy_of(error)

    def refused(self, sending: Sending, again: Callable[[], Any]) -> None:
        """``sending`` ended for good with an error status; ``again`` makes the response again."""
        self._what, self._count, self._outcome = sending.what, sending.count, again

    def known(self, sending: Sending) -> Outcome | None:
        """The outcome for ``sending`` if it is a retry of the last failure; else ``None``."""
        if self._outcome is None:
            return None
        counted = sending.count > 0
        if not counted and not is_retry():
            # A new call: the earlier failure no longer matters.
            self._outcome = None
            return None
        if counted and (sending.count != self._count + 1 or not isinstance(self._outcome, LLMWatchError)):
            # An SDK that counts was told of the status, and retries it for reasons of its own.
            return None
        if sending.what != self._what:
            return None
        self._count = sending.count
        return copy_of(self._outcome) if isinstance(self._outcome, LLMWatchError) else self._outcome
