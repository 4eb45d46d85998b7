"""llmwatch's errors as those of urllib3 and of ``urllib.request``: each is of both classes at once.

Code that catches ``urllib3.exceptions.ReadTimeoutError`` or ``urllib.error.URLError`` still catches it.

=====================================  =======================================  ========================================
llmwatch                               urllib3                                  urllib.request
=====================================  =======================================  ========================================
``WatchTimeout`` ``connect``           ``ConnectTimeoutError``                  ``URLError``
``WatchTimeout``, any other limit      ``ReadTimeoutError``                     ``URLError``; in the body only the
                                                                                ``TimeoutError`` that it is by itself
``ConnectFailed``                      ``SSLError``, ``ProxyError`` or          ``URLError``
                                       ``NewConnectionError``
``StreamCut``                          ``ProtocolError``                        ``http.client.RemoteDisconnected``; in
                                                                                the body ``HTTPException``
the same, for what is not HTTP         ``ProtocolError`` or ``InvalidHeader``   ``BadStatusLine`` or ``IncompleteRead``
other faults of the answer             ``ProtocolError``                        ``http.client.HTTPException``
``CircuitOpen``, ``TooManyOrphans``,   ``PoolError``                            ``URLError``
``TooManyThreads``: nothing was sent
``Cancelled``, ``ConfigError``         none: the network did not cause them
=====================================  =======================================  ========================================

urllib3 wraps what fails before a request was sent in a ``MaxRetryError``, unless the call has ``retries=False``; so do
these. A ``MaxRetryError`` and a ``URLError`` have the ``reason`` that code looks for: an exception of the kind that the
library itself has there, with llmwatch's message.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from urllib3 import exceptions

from llmwatch.engine.combined_errors import also
from llmwatch.errors import Cancelled, ConfigError, ConnectFailed, LLMWatchError, StreamCut, WatchTimeout
from llmwatch.recovery import failure_of

__all__ = ["as_urllib", "as_urllib3"]

_REASONS: dict[str, type[OSError]] = {
    "refused": ConnectionRefusedError,
    "reset": ConnectionResetError,
    "dns": socket.gaierror,
    "dns_temporary": socket.gaierror,
    "tls": ssl.SSLError,
}
"""The class of a ``URLError``'s reason, by the cause of a :class:`ConnectFailed`."""


def as_urllib3(error: LLMWatchError, pool: object, url: str, *, retries: bool) -> LLMWatchError:
    """``error`` as one that a pool of urllib3 could have raised for ``url``, without a host, as well.
    ``retries``: the call was not made with ``retries=False``, for which urllib3 wraps no error.
    """
    if isinstance(error, (Cancelled, ConfigError)):
        return error
    name = _name(error)
    wrapped = retries and name in _BEFORE_SENT
    combined: Any = also(error, "urllib3.exceptions", "MaxRetryError" if wrapped else name)
    if wrapped:
        combined.reason = _reason(error, pool, name)
    elif name == "ProxyError":
        combined.original_error = OSError(error.message)
    if name == "NewConnectionError" and not wrapped:
        combined.conn = pool
    else:
        combined.pool, combined.url = pool, url
    return combined  # type: ignore[no-any-return]


_BEFORE_SENT = frozenset({"ConnectTimeoutError", "NewConnectionError", "ProxyError", "SSLError", "PoolError"})
"""urllib3's classes for what it tries again by default, whatever the method."""


def _name(error: LLMWatchError) -> str:
    if isinstance(error, WatchTimeout):
        return "ConnectTimeoutError" if error.limit == "connect" else "ReadTimeoutError"
    if isinstance(error, ConnectFailed):
        return {"tls": "SSLError", "proxy": "ProxyError"}.get(error.cause, "NewConnectionError")
    if getattr(error.__cause__, "type", "") == "InvalidHeader":
        return "InvalidHeader"
    return "PoolError" if failure_of(error).row.unsent else "ProtocolError"


def _reason(error: LLMWatchError, pool: Any, name: str) -> Exception:
    if name in ("NewConnectionError", "PoolError"):
        return getattr(exceptions, name)(pool, error.message)  # type: ignore[no-any-return]
    if name == "ProxyError":
        return exceptions.ProxyError(error.message, OSError(error.message))
    return getattr(exceptions, name)(error.message)  # type: ignore[no-any-return]


def as_urllib(error: LLMWatchError, *, in_body: bool) -> LLMWatchError:
    """``error`` as one that ``urllib.request`` could have raised as well.
    ``in_body``: the response was handed out, and the caller reads it.
    """
    if isinstance(error, (Cancelled, ConfigError)):
        return error
    if isinstance(error, WatchTimeout):
        return error if in_body else _with_reason(error, TimeoutError)
    if isinstance(error, ConnectFailed):
        return _with_reason(error, _REASONS.get(error.cause, OSError))
    if failure_of(error).row.unsent:
        return _with_reason(error, OSError)
    if isinstance(error, StreamCut) and not error.retryable:
        return _not_http(error, in_body=in_body)
    if isinstance(error, StreamCut) and not in_body:
        combined: Any = also(error, "http.client", "RemoteDisconnected")
        combined.line = ""
        return combined  # type: ignore[no-any-return]
    return also(error, "http.client", "HTTPException")


def _not_http(error: StreamCut, *, in_body: bool) -> LLMWatchError:
    """http.client's error for an answer that is not HTTP, in its head or in its body."""
    attempts = () if error.record is None else error.record.attempts
    in_body = in_body or (bool(attempts) and attempts[-1].status is not None)
    combined: Any = also(error, "http.client", "IncompleteRead" if in_body else "BadStatusLine")
    if in_body:
        combined.partial, combined.expected = b"", None
    else:
        combined.line = ""
    return combined  # type: ignore[no-any-return]


def _with_reason(error: LLMWatchError, kind: type[OSError]) -> LLMWatchError:
    combined: Any = also(error, "urllib.error", "URLError")
    combined.reason = kind(error.message)
    return combined  # type: ignore[no-any-return]
