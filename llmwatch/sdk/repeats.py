"""A request that has just failed for good, and comes again: the SDK's own retry, on top of ours.

The SDKs cannot be told with an exception that trying again is pointless, as ``x-should-retry`` tells them with a
status. But they count their retries in a header, and retry in the thread that they failed in, with the very same
request: same method, same URL, same body. So the request whose count is one above that of the last failure of its
thread, and which is the same otherwise, is that retry. It is answered with the same error and not sent.

A call that the user makes again counts from 0 and is sent, and so is a request without a count.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from hashlib import sha256

import requests

from llmwatch.errors import LLMWatchError
from llmwatch.sdk.exchange import body_of
from llmwatch.sdk.failures import copy_of

__all__ = ["Repeats", "Sending"]

_COUNT = "x-stainless-retry-count"


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
        return sha256(seed + body_of(self._prepared)).digest()


def _count_in(headers: Mapping[str, str]) -> int:
    text = headers.get(_COUNT, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


class Repeats(threading.local):
    """The last failure of each thread."""

    def __init__(self) -> None:
        self._last: tuple[bytes, int] | None = None
        self._error: LLMWatchError | None = None

    def failed(self, sending: Sending, error: LLMWatchError) -> None:
        """``sending`` ended with ``error``, and that is the end of it."""
        self._last, self._error = (sending.what, sending.count), copy_of(error)

    def known(self, sending: Sending) -> LLMWatchError | None:
        """The error that ``sending`` is to end with, if it is a retry of what has just failed; else ``None``."""
        if sending.count == 0:
            # Another call: what came before is over.
            self._last = self._error = None
            return None
        if self._last is None or self._last != (what := sending.what, sending.count - 1):
            return None
        self._last = (what, sending.count)
        return self._error
