"""A request that has just failed for good, and comes again: the library's own retry, on top of ours.

The libraries cannot be told with an exception that trying again is pointless, as ``x-should-retry`` tells the SDKs with
a status. But they retry in the thread that they failed in, with the very same request: same method, same URL, same
body. And either they count their retries in a header (openai, anthropic, groq and others of their make), or it shows on
the stack (:mod:`llmwatch.session.retry_loops`). So a request that is a retry by one of these signs, and the same as
that which failed last in its thread, is answered as that was, and not sent.

A call that the user makes again counts from 0 and is in no retry of a library: it is sent, and so is a request that
gives no sign.
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
"""How a request ended: the error, or what makes its response again."""


class Sending:
    """A request as it is told from others: ``what`` it is, and ``count``, how often its SDK says to have resent it."""

    __slots__ = ("_prepared", "count")

    def __init__(self, prepared: requests.PreparedRequest) -> None:
        self._prepared = prepared
        self.count = _count_in(prepared.headers)

    @property
    def what(self) -> bytes:
        """The same for the same request. Not its body, which would be kept for as long as its thread calls nobody else;
        and not made before it is needed, which for most requests is never.
        """
        seed = f"{self._prepared.method} {self._prepared.url}\n".encode()
        return sha256(seed + _body_of(self._prepared)).digest()


def _body_of(prepared: requests.PreparedRequest) -> bytes:
    """The body for comparison: without the boundary between the parts of a form, which is drawn anew every time."""
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
        """``sending`` ended with ``error``, and that is the end of it."""
        self._what, self._count, self._outcome = sending.what, sending.count, copy_of(error)

    def refused(self, sending: Sending, again: Callable[[], Any]) -> None:
        """``sending`` ended with an error status, and that is the end of it; ``again`` makes the response anew."""
        self._what, self._count, self._outcome = sending.what, sending.count, again

    def known(self, sending: Sending) -> Outcome | None:
        """How ``sending`` is to end, if it is a retry of what has just failed; else ``None``."""
        if self._outcome is None:
            return None
        counted = sending.count > 0
        if not counted and not is_retry():
            # Another call: what came before is over.
            self._outcome = None
            return None
        if counted and (sending.count != self._count + 1 or not isinstance(self._outcome, LLMWatchError)):
            # An SDK that counts has been told of a status, and retries one for reasons of its own.
            return None
        if sending.what != self._what:
            return None
        self._count = sending.count
        return copy_of(self._outcome) if isinstance(self._outcome, LLMWatchError) else self._outcome
