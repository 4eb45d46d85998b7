"""An adapter's own ``max_retries``, applied only where llmwatch itself never sends again.

urllib3 would repeat a request inside one attempt, on top of each resend of llmwatch. So a watched pool makes one
request, and the loop around the attempts asks the setting that is kept here. urllib3's own class, or a user's subclass
of it, works out what the setting says.
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
    A worker brings them. The caller's thread asks them between two attempts.
    """

    def __init__(self) -> None:
        self._left: Retry | None = None
        self.exhausted = False
        """A status called for another try, and none is left: the adapter's users expect an exception."""

    def take(self, given: object) -> None:
        """The adapter was to use ``given``. The first value counts for the whole call."""
        if self._left is None and isinstance(given, Retry):
            self._left = given

    def forces(self, method: str, status: int, headers: Mapping[str, str]) -> bool:
        """Whether a response with this status calls for another try, if one is left."""
        retries = self._left
        return retries is not None and retries.is_retry(method, status, "Retry-After" in headers)

    def after_status(self, method: str, url: str, response: requests.Response) -> float | None:
        """Seconds until the next try after a response; ``None`` if the response is the answer."""
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
            # An invalid header asks for nothing.
            with contextlib.suppress(HTTPError):
                asked = retries.get_retry_after(raw)
        return retries.get_backoff_time() if asked is None else asked

    def after_failure(self, method: str, url: str, *, sent: bool, tls: bool) -> float | None:
        """Seconds until the next try after a failure without a response; ``None`` if there is none.
        ``sent``: the server may have seen the request. ``tls``: the server's certificate or the handshake failed.
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
            # Some settings raise ``error`` itself. Its frames refer to it, and through their callers to the program's
            # data, until a garbage collection.
            error.__traceback__ = None
            return None
        return retries.get_backoff_time()

    def note(self, raw: Any) -> None:
        """Give the response that is passed on its history, where urllib3 keeps it."""
        if self._left is not None and self._left.history and hasattr(raw, "retries"):
            raw.retries = self._left
