"""An adapter's own ``max_retries``: taken from it, and asked where llmwatch itself never sends again.

urllib3 would repeat a request inside of one attempt, on top of every resend of ours. A watched pool therefore makes one
request, and the setting that it was given is kept here, for the loop around the attempts to ask. What the setting says
is worked out by urllib3's own class, or by the one that a user has derived from it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ProtocolError, SSLError
from urllib3.util.retry import Retry

__all__ = ["AdapterRetries"]


class AdapterRetries:
    """The retries of one call that its adapter was made with.

    A worker brings them, the caller's thread asks them, between two attempts.
    """

    def __init__(self) -> None:
        self._left: Retry | None = None
        self.exhausted = False
        """A status was to be tried again, and no try is left: the adapter's users expect an exception."""

    def take(self, given: object) -> None:
        """The adapter was to use ``given``. What it says the first time counts for the whole call."""
        if self._left is None and isinstance(given, Retry):
            self._left = given

    def forces(self, method: str, status: int, headers: Mapping[str, str]) -> bool:
        """Whether a response with this status is to be tried again, if a try is left."""
        retries = self._left
        return retries is not None and retries.is_retry(method, status, "Retry-After" in headers)

    def after_status(self, method: str, url: str, response: requests.Response) -> float | None:
        """Seconds until the next try after a response; ``None`` if it is the answer."""
        retries, raw = self._left, response.raw
        if retries is None or not self.forces(method, response.status_code, response.headers):
            return None
        try:
            self._left = retries = retries.increment(method, url, response=raw)
        except HTTPError:
            self.exhausted = bool(retries.raise_on_status)
            return None
        asked = None
        if retries.respect_retry_after_header:
            # Nonsense asks for nothing.
            with contextlib.suppress(HTTPError):
                asked = retries.get_retry_after(raw)
        return retries.get_backoff_time() if asked is None else asked

    def after_failure(self, method: str, url: str, *, sent: bool, tls: bool) -> float | None:
        """Seconds until the next try after a failure without a response; ``None`` if there is none.

        ``sent``: the server may have seen the request; ``tls``: its certificate or handshake was at fault.
        """
        retries = self._left
        if retries is None:
            return None
        error: Exception = (
            SSLError("TLS failed") if tls else ProtocolError("lost") if sent else ConnectTimeoutError("no")
        )
        try:
            self._left = retries = retries.increment(method, url, error=error)
        except HTTPError:
            # Some settings raise it as it is. Its frames refer to it, and through their callers to all that the
            # program has at hand, until a garbage collection.
            error.__traceback__ = None
            return None
        return retries.get_backoff_time()

    def note(self, raw: Any) -> None:
        """Let the response that is handed out know its history, where urllib3 keeps it."""
        if self._left is not None and self._left.history and hasattr(raw, "retries"):
            raw.retries = self._left
